"""The list of crawlers' user agents: read at the start and every minute, told to every lane.

It is deployment-wide configuration: engines take it from the log, so that a replay decides by the
list that was in force. A list that cannot be read, or holds more than an engine takes, is not told,
and what was told before stays in force.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgpack

from headwater import background, limits
from headwater.errors import ConfigError, HeadwaterError
from headwater.ledger.deployment import BotList, announce_bot_list
from headwater.ledger.engine import Ledger

log = logging.getLogger(__name__)

PACKAGE: Final = "crawler-user-agents"
_VERSION_BYTES: Final = 6


class BotLists:
    """Keeps the lanes told until closed."""

    def __init__(self, ledger: Ledger, files: Sequence[Path]) -> None:
        self._ledger = ledger
        self._files = files
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        await background.stop(self._task)
        self._task = None

    async def _run(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self.look)
            except (HeadwaterError, OSError) as error:
                log.warning("bot_list_kept", extra={"fields": {"why": str(error)[:200]}})
            except Exception:
                # The task must outlive what nobody foresaw: a file that is only being written.
                log.exception("bot_list_failed")
            await asyncio.sleep(limits.BOT_LIST_LOOK_S)

    def look(self) -> None:
        """Tell the lanes of the list as it is now, those that were not told. Raises ConfigError,
        OSError, LedgerError.
        """
        bots = made(read(self._files))
        revision = announce_bot_list(self._ledger, bots)
        if revision is not None:
            fields = {"version": bots.version, "revision": revision}
            log.info("bot_list_told", extra={"fields": fields})


def read(files: Sequence[Path]) -> list[str]:
    """The patterns of some files, or those of the package where none is named."""
    if files:
        return [pattern for file in files for pattern in _patterns(file.read_text("utf-8"))]
    from crawleruseragents import CRAWLER_USER_AGENTS_DATA

    return [str(entry["pattern"]) for entry in CRAWLER_USER_AGENTS_DATA]


def _patterns(text: str) -> Iterable[str]:
    """A JSON array of objects with a `pattern`, as the package has it, or a pattern a line."""
    if text.lstrip().startswith("["):
        return [str(entry["pattern"]) for entry in json.loads(text)]
    return [line for line in map(str.strip, text.splitlines()) if line and line[0] != "#"]


def made(patterns: Iterable[str]) -> BotList:
    """A list in parts. Raises ConfigError when it is empty, or more than an engine takes."""
    each_once = list(dict.fromkeys(filter(None, patterns)))
    if not each_once:
        raise ConfigError(["the list of crawlers is empty"])
    if len(each_once) > limits.BOT_PATTERNS_MAX:
        raise ConfigError([f"the list of crawlers has over {limits.BOT_PATTERNS_MAX} patterns"])
    lengths = [len(pattern.encode("utf-8")) for pattern in each_once]
    if max(lengths) > limits.BOT_PATTERN_LENGTH_MAX:
        raise ConfigError([f"a pattern has over {limits.BOT_PATTERN_LENGTH_MAX} bytes"])
    if sum(lengths) > limits.BOT_PATTERN_BYTES_MAX:
        raise ConfigError([f"the list of crawlers has over {limits.BOT_PATTERN_BYTES_MAX} bytes"])
    digest = hashlib.blake2b(msgpack.packb(each_once), digest_size=_VERSION_BYTES)
    return BotList(digest.hexdigest(), _chunks(each_once))


def _chunks(patterns: Iterable[str]) -> list[list[str]]:
    chunks: list[list[str]] = [[]]
    size = 0
    for pattern in patterns:
        packed = len(msgpack.packb(pattern))
        is_full = len(chunks[-1]) >= limits.BOT_CHUNK_PATTERNS_MAX
        if is_full or size + packed > limits.BOT_CHUNK_BYTES_MAX:
            chunks.append([])
            size = 0
        chunks[-1].append(pattern)
        size += packed
    return chunks
