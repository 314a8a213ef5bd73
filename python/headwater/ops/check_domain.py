"""`headwater check-domain`: whether a tracking domain is ready for visitors, and its cookie for
Safari.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from typing import NamedTuple, Protocol
from urllib.parse import quote

from rich.console import Console
from rich.table import Table

from headwater import clock
from headwater.config import Config
from headwater.edge.cookies import site as site_of
from headwater.ops.doctor import Finding

TIMEOUT_S = 10.0
# Certificates of the usual kind are renewed a month before their end; this is late.
CERTIFICATE_DAYS_LEAST = 14
_DAY_S = 86_400
# Safari compares the first half of the addresses.
_HALF_BITS = {4: 16, 6: 64}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Certificate(NamedTuple):
    """Of a host whose certificate is trusted and names it."""

    ends_s: int


class Network(Protocol):
    """What a check sees of the world. Every method raises OSError when there is no answer."""

    def addresses(self, host: str) -> list[Address]: ...
    def certificate(self, host: str) -> Certificate: ...
    def status(self, host: str, path: str) -> int: ...
    def is_registered(self, settings: Config, host: str) -> bool: ...


class Internet:
    """The real one."""

    def __init__(self, tls_port: int = 443) -> None:
        self._port = tls_port

    def addresses(self, host: str) -> list[Address]:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return sorted({ipaddress.ip_address(each[4][0]) for each in found}, key=str)

    def certificate(self, host: str) -> Certificate:
        context = ssl.create_default_context()
        with (
            socket.create_connection((host, self._port), TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            found = secured.getpeercert() or {}
        return Certificate(int(ssl.cert_time_to_seconds(str(found["notAfter"]))))

    def status(self, host: str, path: str) -> int:
        connection = http.client.HTTPSConnection(host, self._port, timeout=TIMEOUT_S)
        return _status(connection, path)

    def is_registered(self, settings: Config, host: str) -> bool:
        connection = http.client.HTTPConnection(
            settings.console_host, settings.console_port, timeout=TIMEOUT_S
        )
        return _status(connection, f"/v1/domains/allowed?domain={quote(host, safe='')}") == 200


def _status(connection: http.client.HTTPConnection, path: str) -> int:
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except http.client.HTTPException as error:
        raise ConnectionError("no HTTP answer") from error
    finally:
        connection.close()


def run_check_domain(
    settings: Config, domain: str, site: str | None, network: Network | None = None
) -> int:
    """Print every finding about a tracking domain of a site; 0 when none is a fault."""
    table = Table("part", "state", "seen", "what mends it")
    faults = 0
    domain = domain.lower().removesuffix(".")
    for finding in findings(settings, domain, site or site_of(domain), network or Internet()):
        faults += not finding.ok
        state = "[green]ok[/green]" if finding.ok else "[red]fault[/red]"
        table.add_row(finding.part, state, finding.seen, finding.mend)
    Console().print(table)
    return 1 if faults else 0


def findings(settings: Config, domain: str, site: str, network: Network) -> Iterator[Finding]:
    """What is to be said of a tracking domain, whose visitors end on `site`."""
    yield _registered(settings, domain, network)
    own = _addresses(domain, network)
    if own:
        yield Finding("DNS", True, f"{domain} is {_listed(own)}")
        yield from _tls(domain, network)
    else:
        mend = "point an A or AAAA record at the proxy in front of Headwater"
        yield Finding("DNS", False, f"{domain} has no address", mend)
    yield from _safari(domain, own, site, network)


def _registered(settings: Config, domain: str, network: Network) -> Finding:
    try:
        if network.is_registered(settings, domain):
            return Finding("Headwater", True, "a tracking domain of this deployment")
    except OSError:
        where = f"{settings.console_host}:{settings.console_port}"
        mend = "start it, or name it with --console-port"
        return Finding("Headwater", False, f"no console answers at {where}", mend)
    mend = "register it: POST /v1/domains"
    return Finding("Headwater", False, "not a tracking domain of this deployment", mend)


def _addresses(host: str, network: Network) -> list[Address]:
    try:
        return network.addresses(host)
    except (OSError, UnicodeError):
        return []


def _tls(domain: str, network: Network) -> Iterator[Finding]:
    try:
        ends_s = network.certificate(domain).ends_s
    except ssl.SSLCertVerificationError as error:
        mend = "have the proxy get a certificate for this name"
        yield Finding("TLS", False, f"browsers refuse it: {error.verify_message}", mend)
        return
    except OSError as error:
        mend = "open port 443 on the proxy, with a certificate"
        yield Finding("TLS", False, f"no TLS on port 443: {type(error).__name__}", mend)
        return
    days = (ends_s - clock.now_ms() // 1000) // _DAY_S
    is_fresh = days >= CERTIFICATE_DAYS_LEAST
    mend = "" if is_fresh else "the proxy should have renewed it: look at its log"
    yield Finding("TLS", is_fresh, f"the certificate holds for {days} more days", mend)
    yield _forwarding(domain, network)


def _forwarding(domain: str, network: Network) -> Finding:
    mend = "have the proxy hand every path to Headwater's public listener"
    try:
        status = network.status(domain, "/healthz")
    except OSError as error:
        return Finding("proxy", False, f"no answer: {type(error).__name__}", mend)
    return Finding("proxy", status == 200, f"/healthz answers {status}", mend * (status != 200))


def _safari(domain: str, own: list[Address], site: str, network: Network) -> Iterator[Finding]:
    """Safari's rule: a cookie lives seven days at most unless the host that set it is of the
    site's own network.
    """
    if site_of(domain) != site_of(site):
        mend = f"use a tracking domain below {site_of(site)}: browsers block cookies of others"
        yield Finding("cookie", False, f"another site than {site}", mend)
        return
    yield Finding("cookie", True, f"of the same site as {site}")
    theirs = _addresses(site, network)
    if not theirs:
        mend = "name the host that serves the site with --site"
        yield Finding("Safari", False, f"{site} has no address", mend)
    elif own:
        strange = [each for each in own if _half(each) not in {_half(other) for other in theirs}]
        seen = f"{domain} is {_listed(own)}, {site} is {_listed(theirs)}"
        mend = (
            "Safari ends the cookie after seven days: serve the domain from the site's own "
            "network, or by a path of its reverse proxy"
        )
        yield Finding("Safari", not strange, seen, mend if strange else "")


def _half(address: Address) -> tuple[int, int]:
    """The version and the first half of an address."""
    bits = _HALF_BITS[address.version]
    return address.version, int(address) >> (address.max_prefixlen - bits)


def _listed(addresses: list[Address]) -> str:
    return ", ".join(str(address) for address in addresses)
