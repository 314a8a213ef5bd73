"""Who calls: the address that counts, cut to a prefix, and what is kept of the user agent."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Callable, Sequence

from headwater import limits
from headwater.edge.text import cut
from headwater.model.records import Client

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_BOTS = ("bot", "crawl", "spider", "slurp", "preview", "curl/", "wget/", "python", "headless")
_MOBILE = ("mobile", "android", "iphone", "ipad")


def parse_address(text: str) -> Address | None:
    """An address in any form a forwarded header uses: with a port, in brackets, with a zone."""
    text = text.strip()
    if len(text) > 64 or not text.isascii():
        return None
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


@functools.lru_cache(maxsize=limits.ADDRESSES_REMEMBERED_MAX)
def prefix(text: str) -> str | None:
    """The /24 or /48 an address lies in, which is all that is kept; None for no address."""
    address = parse_address(text)
    if address is None:
        return None
    length = 24 if address.version == 4 else 48
    return str(ipaddress.ip_network((address, length), strict=False))


class TrustedProxies:
    """The networks whose forwarded headers count."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks: list[Network] = [ipaddress.ip_network(text) for text in networks]
        self.trusts: Callable[[str], bool] = functools.lru_cache(
            maxsize=limits.ADDRESSES_REMEMBERED_MAX
        )(self._trusts)

    def __bool__(self) -> bool:
        return bool(self._networks)

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
    """The one word that is kept of a user agent when consent is denied."""
    if not user_agent:
        return None
    lower = user_agent[: limits.USER_AGENT_BYTES_MAX].lower()
    if any(mark in lower for mark in _BOTS):
        return "bot"
    return "mobile" if any(mark in lower for mark in _MOBILE) else "desktop"


def kept(address: str, user_agent: str | None, referrer: str | None, *, denied: bool) -> Client:
    """What a record keeps of the caller; with consent `denied` only the user agent's class."""
    if denied:
        return Client(None, agent_class(user_agent), None)
    return Client(
        prefix(address) if address else None,
        cut(user_agent, limits.USER_AGENT_BYTES_MAX) if user_agent else None,
        cut(referrer, limits.REFERRER_BYTES_MAX) if referrer else None,
    )
