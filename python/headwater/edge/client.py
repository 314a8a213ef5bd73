"""Who calls: the address that counts, and what a record keeps of caller and request."""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from headwater import limits
from headwater.edge import page_address
from headwater.edge.address import parse_address, place
from headwater.edge.cards import without_card
from headwater.edge.network import Networks
from headwater.edge.ranges import Ranges
from headwater.edge.text import cut
from headwater.model.records import Client, Request

_WORD = re.compile(r"[a-z]+")
# What the names of programs that say what they are end with, and words that they have in them.
_ENDINGS = ("bot", "bots", "crawler", "spider")
_PARTS = frozenset(("curl", "wget", "python", "slurp", "preview", "headless", "headlesschrome"))
# Makers of telephones and names of people: the engine's words (fraud/agents/words.rs).
_NO_BOTS = frozenset(("cubot", "talbot", "abbot", "turbot", "cabot", "ilbot"))
_MOBILE = ("mobile", "android", "iphone", "ipad")


class TrustedProxies:
    """The networks whose forwarded headers count."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = [ipaddress.ip_network(text) for text in networks]
        self.trusts: Callable[[str], bool] = functools.lru_cache(
            maxsize=limits.ADDRESSES_REMEMBERED_MAX
        )(self._trusts)

    def __bool__(self) -> bool:
        return bool(self._networks)

    @property
    def ranges(self) -> Ranges:
        """The same networks as ranges."""
        return Ranges((each.version, int(each[0]), int(each[-1])) for each in self._networks)

    def _trusts(self, text: str) -> bool:
        address = parse_address(text)
        return address is not None and any(address in network for network in self._networks)

    def client(self, peer: str, forwarded: Sequence[str]) -> str:
        """The caller's address: right to left through trusted hops to the first that is not.

        `forwarded` holds the X-Forwarded-For values in order. A chain that is broken or too long
        counts for nothing: then it is the socket's peer.
        """
        if not self._networks or not forwarded or not self.trusts(peer):
            return peer
        found = peer
        # The rightmost part alone is split: a long forged chain on the left costs nothing.
        hops = ",".join(forwarded).rsplit(",", limits.FORWARDED_HOPS_MAX)
        for hop in reversed(hops[-limits.FORWARDED_HOPS_MAX :]):
            address = parse_address(hop)
            if address is None:
                return peer
            found = str(address)
            if not self.trusts(found):
                return found
        return found


def agent_class(user_agent: str | None) -> str | None:
    """The one word that is kept of a user agent when consent is denied.

    `bot` only where a whole word says so: a click of that class is filtered, and telephones are
    called Cubot.
    """
    if not user_agent:
        return None
    lower = user_agent[: limits.USER_AGENT_BYTES_MAX].lower()
    words = set(_WORD.findall(lower)) - _NO_BOTS
    if not words.isdisjoint(_PARTS) or any(word.endswith(_ENDINGS) for word in words):
        return "bot"
    return "mobile" if any(mark in lower for mark in _MOBILE) else "desktop"


@functools.lru_cache(maxsize=limits.AGENTS_REMEMBERED_MAX)
def _agent(user_agent: str | None) -> str | None:
    return without_card(user_agent)


class Caller(NamedTuple):
    """Whoever an event is about, as told or as seen; nothing of it is cut or judged yet."""

    address: str = ""
    user_agent: str | None = None
    referrer: str | None = None
    request: Request | None = None
    """Of a browser's own request; None for what a server tells."""


NOBODY = Caller()


def kept(networks: Networks, caller: Caller, brand: int, now_ms: int, *, denied: bool) -> Client:
    """What a record of `brand` keeps of the caller.

    With consent `denied` nothing that tells one visitor from another: no prefix and no digest of
    the address, the user agent's class, no hints of it, and that a language was named.
    """
    at = place(caller.address) if caller.address else None
    agent, referrer = _agent(caller.user_agent), page_address.referrer_kept(caller.referrer)
    network = (
        None if at is None else networks.of(at, agent, brand, now_ms, denied=denied or not brand)
    )
    if denied:
        request = caller.request and _without_hints(caller.request)
        return Client(None, agent_class(agent), None, network, request)
    return Client(
        None if at is None else at.prefix,
        cut(agent, limits.USER_AGENT_BYTES_MAX) if agent else None,
        cut(referrer, limits.REFERRER_BYTES_MAX) if referrer else None,
        network,
        caller.request,
    )


def _without_hints(request: Request) -> Request:
    return request._replace(
        accept_language=None if request.accept_language is None else "*",
        agent_brands=None,
        agent_mobile=None,
        agent_platform=None,
    )
