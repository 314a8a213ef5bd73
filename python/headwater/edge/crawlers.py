"""Crawlers whose operators publish their addresses: is who says so one of them?"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from headwater import limits
from headwater.edge.ranges import Range, Ranges
from headwater.model.records import NetworkFlag

_VERIFIED, _FAKE = int(NetworkFlag.CRAWLER_VERIFIED), int(NetworkFlag.CRAWLER_FAKE)


class CrawlerRow(NamedTuple):
    """One line of the list: an operator, one of its ranges, the names its user agents carry."""

    operator: str
    range: Range
    agents: tuple[str, ...]


class Crawlers:
    """The operators of a list. It is never changed, so threads may share it."""

    def __init__(self, rows: Iterable[CrawlerRow]) -> None:
        ranges: dict[str, list[Range]] = {}
        operators_by_agent: dict[str, set[str]] = {}
        for row in rows:
            ranges.setdefault(row.operator, []).append(row.range)
            for agent in row.agents:
                operators_by_agent.setdefault(agent.lower(), set()).add(row.operator)
        operators = {name: Ranges(found) for name, found in ranges.items()}
        self._by_agent = {
            agent: [operators[name] for name in sorted(names)]
            for agent, names in operators_by_agent.items()
        }
        self.names: list[str] = sorted(self._by_agent)
        """What the user agents of all operators carry, in lower case."""
        # The longest name first: "Googlebot-Image" is not merely a "Googlebot".
        names = sorted(self._by_agent, key=lambda name: (-len(name), name))
        choice = "|".join(re.escape(name) for name in names)
        self._names = re.compile(rf"(?<![a-z0-9])(?:{choice})(?![a-z0-9])")
        self._claimed = functools.lru_cache(maxsize=limits.AGENTS_REMEMBERED_MAX)(self._find)

    def judge(self, user_agent: str, version: int, number: int) -> int:
        """CRAWLER_VERIFIED when the user agent names a crawler and the address is its
        operator's, CRAWLER_FAKE when the operator publishes only others, else 0.

        An operator that publishes no address of this IP version can prove nothing by it.
        """
        asked = False
        for ranges in self._claimed(user_agent[: limits.USER_AGENT_BYTES_MAX]):
            if ranges.holds(version, number):
                return _VERIFIED
            asked = asked or ranges.knows(version)
        return _FAKE if asked else 0

    def _find(self, user_agent: str) -> Sequence[Ranges]:
        """Ranges of every operator one of whose names stands in the user agent by itself."""
        found: list[Ranges] = []
        for match in self._names.finditer(user_agent.lower()):
            found += [each for each in self._by_agent[match[0]] if each not in found]
        return found
