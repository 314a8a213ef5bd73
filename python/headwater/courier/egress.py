"""The only place that opens connections to the outside world.

The guard stands where the socket is made, so it sees the very address that is dialed: a literal
in the URL, an answer of DNS, a name that leads elsewhere the second time. No redirect is
followed, no proxy of the environment used, no cookie kept, nothing unpacked.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from headwater import limits
from headwater.model.outbound import Rules, is_reachable, target_of

Lookup = Callable[[str], Sequence[str]]
"""The addresses of a name. Raises OSError when it has none."""

AGENT = "Headwater-Courier/1"


class Answer(NamedTuple):
    """What came of one request. Without a status `code` says why, one of DELIVERY_CODES."""

    status: int | None
    head: bytes
    """The first bytes of the body."""
    retry_after: str | None
    code: str | None


class _AddressRefused(OSError):
    """The address is not one to connect to."""

    def __init__(self) -> None:
        # Always the same text: whoever gathers several raises one of them as it is.
        super().__init__(errno.EACCES, "the address is refused")


def system_lookup(host: str) -> list[str]:
    """The addresses the system's resolver gives, in its order."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class _Resolver(AbstractResolver):
    """Names by `lookup`, in threads of their own: one that does not answer holds up no other.

    A lookup outlives the request it was made for, so a name is looked up once at a time: however
    many requests go to a name that hangs, it holds one thread.
    """

    def __init__(self, rules: Rules, lookup: Lookup) -> None:
        self._rules = rules
        self._lookup = lookup
        self._pool = ThreadPoolExecutor(limits.EGRESS_LOOKUPS_MAX, "egress-dns")
        self._running: dict[str, asyncio.Future[Sequence[str]]] = {}

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - of the interface
    ) -> list[ResolveResult]:
        found = await asyncio.shield(self._looked_up(host))
        # One address that is refused refuses them all: a name that mixes them means no good.
        if not all(is_reachable(address, port, self._rules) for address in found):
            raise _AddressRefused
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
            for address in found
        ]

    def _looked_up(self, host: str) -> asyncio.Future[Sequence[str]]:
        running = self._running.get(host)
        if running is None:
            loop = asyncio.get_running_loop()
            running = loop.run_in_executor(self._pool, self._lookup, host)
            self._running[host] = running
            running.add_done_callback(lambda done: self._landed(host, done))
        return running

    def _landed(self, host: str, done: asyncio.Future[Sequence[str]]) -> None:
        del self._running[host]
        if not done.cancelled():
            # Whoever asked may have gone: its error is nobody's then.
            done.exception()

    async def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


class Egress:
    """A client of other people's servers. Make it inside the loop it is used in."""

    def __init__(
        self,
        rules: Rules,
        lookup: Lookup = system_lookup,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._rules = rules
        connector = aiohttp.TCPConnector(
            resolver=_Resolver(rules, lookup),
            use_dns_cache=False,
            limit=limits.DELIVERIES_AT_ONCE_MAX,
            ssl=tls or ssl.create_default_context(),
            socket_factory=self._guarded,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=limits.DELIVERY_S),
            max_line_size=limits.LINE_BYTES_MAX,
            max_field_size=limits.HEADER_BYTES_MAX,
            max_headers=limits.HEADERS_MAX,
        )

    def _guarded(self, address: Any) -> socket.socket:
        family, kind, protocol, _name, (host, port, *_rest) = address
        if not is_reachable(host, port, self._rules):
            raise _AddressRefused
        return socket.socket(family, kind, protocol)

    async def get(self, url: str, headers: Mapping[str, str]) -> Answer:
        """GET a URL, byte for byte as it is. Whatever happens is in the answer; nothing is raised
        but cancellation.
        """
        if target_of(url, self._rules) is None:
            return Answer(None, b"", None, "url_refused")
        sent = {"User-Agent": AGENT, "Accept": "*/*", "Accept-Encoding": "identity", **headers}
        try:
            response = await self._session.get(
                URL(url, encoded=True), headers=sent, allow_redirects=False
            )
        except TimeoutError:
            return Answer(None, b"", None, "timeout")
        except Exception as error:  # noqa: BLE001 - whatever a server provokes, it is an attempt
            return Answer(None, b"", None, _code_of(error))
        try:
            head = await _head(response)
        finally:
            # A body that is not read to its end takes its connection with it.
            response.close()
        return Answer(response.status, head, response.headers.get("Retry-After"), None)

    async def close(self) -> None:
        await self._session.close()


async def _head(response: aiohttp.ClientResponse) -> bytes:
    """The first bytes of a body. The status is the answer: a body that breaks off or takes too
    long changes nothing.
    """
    head = bytearray()
    try:
        while len(head) < limits.DELIVERY_ANSWER_BYTES_MAX:
            more = await response.content.read(limits.DELIVERY_ANSWER_BYTES_MAX - len(head))
            if not more:
                break
            head += more
    except Exception:  # noqa: BLE001, S110 - as above; what came so far is kept
        pass
    return bytes(head)


def _code_of(error: Exception) -> str:
    """Why there is no answer."""
    cause = getattr(error, "os_error", error)
    if isinstance(cause, _AddressRefused):
        return "address_refused"
    for kind, code in (
        (aiohttp.InvalidURL, "url_refused"),
        (aiohttp.ClientConnectorDNSError, "dns_failed"),
        (aiohttp.ClientSSLError, "tls_failed"),
        (aiohttp.ClientConnectorError, "connect_failed"),
        (aiohttp.ClientResponseError, "bad_answer"),
    ):
        if isinstance(error, kind):
            return code
    return "connection_lost"
