"""The egress guard: every spelling of every address that is not public, and names that lie."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Sequence

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier_tools import LOOPBACK, egress, partner, status
from headwater import limits
from headwater.courier.egress import Answer
from headwater.courier.schedule import RETRIES_MS, outcome_of, pause_ms
from headwater.model.outbound import DENIED, Rules, fault_of, is_reachable, target_of
from headwater.model.pixels import DELIVERY_CODES

HTTP = Rules(http=True)
NOT_PUBLIC_6 = [
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::a00:1",
    "100::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "5f00::1",
    "2002:7f00:1::",
    "2001::1",
    "2001:db8::1",
    "3fff::1",
]


def spellings(address: ipaddress.IPv4Address) -> list[str]:
    """An IPv4 address in every form a URL's host has ever been read in."""
    number = int(address)
    a, b, c, d = address.packed
    embedded = f"{a:02x}{b:02x}:{c:02x}{d:02x}"
    return [
        str(address),
        str(number),
        hex(number),
        f"0{number:o}",
        f"{a}.{number & 0xFFFFFF}",
        f"{a}.{b}.{number & 0xFFFF}",
        f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"0{a:o}.{b}.{c}.{d}",
        f"{a}.{b}.{c}.{d}.",
        f"%3{a % 10}.{b}.{c}.{d}",
        f"[::ffff:{address}]",
        f"[::ffff:{embedded}]",
        f"[::{address}]",
        f"[64:ff9b::{embedded}]",
        f"[2002:{embedded}::]",
        f"[2001:0:{embedded}::]",
        f"[::ffff:{address}%25eth0]",
    ]


def denied_addresses() -> list[ipaddress.IPv4Address]:
    nets = [network for network in DENIED if isinstance(network, ipaddress.IPv4Network)]
    return [
        network[offset] for network in nets for offset in sorted({0, network.num_addresses - 1})
    ]


@pytest.mark.parametrize("address", denied_addresses(), ids=str)
def test_no_spelling_of_an_address_that_is_not_public_is_asked(
    address: ipaddress.IPv4Address,
) -> None:
    for host in spellings(address):
        for url in (f"http://{host}/", f"http://user@{host}/", f"http://{host}:80/?a=b"):
            target = target_of(url, HTTP)
            assert target is None or not is_reachable(target.host, target.port, HTTP), url
            assert fault_of(url, HTTP) is not None


@pytest.mark.parametrize("address", NOT_PUBLIC_6)
def test_an_ipv6_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_reachable(address, 443, HTTP)
    assert fault_of(f"https://[{address}]/", HTTP) is not None
    assert target_of(f"https://[{address}%25lo]/", HTTP) is None
    assert not is_reachable(f"{address}%lo", 443, HTTP)


def test_public_addresses_are_reached_on_ports_of_web_servers_alone() -> None:
    for address in ("93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "2a00:1450::1"):
        assert is_reachable(address, 443, HTTP)
        for port in (22, 25, 6379, 0, 65535):
            assert not is_reachable(address, port, HTTP)


@pytest.mark.parametrize(
    "url",
    [
        "http://partner.example/",
        "ftp://partner.example/",
        "file:///etc/passwd",
        "gopher://partner.example/",
        "javascript:alert(1)",
        "//partner.example/",
        "https:partner.example/",
        "https:///partner.example/",
        "https://",
        "https://user:pass@partner.example/",
        "https://partner.example@evil.example/",
        "https://partner.example\\@evil.example/",
        "https://partner.example/#part",
        "https://partner.example:0/",
        "https://partner.example:65536/",
        "https://partner.example:99999999/",
        "https://partner..example/",
        "https://.partner.example/",
        "https://-partner.example/",
        "https://partner.example./",
        "https://pärtner.example/",
        "https://partner.example/ä",
        "https://partner%2eexample/",
        "https://partner.example/a b",
        "https://partner.example/\r\nHost: evil",
        "https://partner.example/\x00",
        "https://1.2.3/",
        "https://a.0x1/",
        "https://partner.example:22/",
        " https://partner.example/",
        "HTTPS://[::1",
    ],
)
def test_a_url_that_could_be_read_in_two_ways_is_refused(url: str) -> None:
    assert fault_of(url, Rules()) is not None


def test_an_ordinary_url_is_taken() -> None:
    url = "https://track.partner.example:8443/p/{id}?a=b&c[]=%20~"
    assert fault_of(url, Rules()) is None
    target = target_of(url, Rules())
    assert target is not None
    assert (target.host, target.port) == ("track.partner.example", 8443)
    assert target.path == "/p/{id}?a=b&c[]=%20~"
    bare = target_of("https://partner.example?x=1", Rules())
    assert bare is not None
    assert bare.path == "/?x=1"


# ---- On real sockets -------------------------------------------------------------------------


def asked(url: str, rules: Rules, names: dict[str, list[str]] | None = None) -> str | None:
    """The code of one request, with names leading where the test says."""

    def lookup(host: str) -> Sequence[str]:
        return (names or {})[host]

    async def body() -> str | None:
        async with egress(rules, lookup=lookup) as made:
            return (await made.get(url, {})).code

    return asyncio.run(body())


def listening() -> tuple[socket.socket, int]:
    server = socket.create_server(("127.0.0.1", 0))
    server.setblocking(False)
    return server, server.getsockname()[1]


def test_nothing_is_connected_to_loopback_by_any_spelling() -> None:
    server, port = listening()
    with server:
        for host in spellings(ipaddress.IPv4Address("127.0.0.1")):
            assert asked(f"http://{host}:{port}/", HTTP) in ("url_refused", "address_refused")
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_name_that_leads_to_an_address_that_is_not_public_is_refused() -> None:
    server, port = listening()
    everywhere = [*map(str, denied_addresses()), *NOT_PUBLIC_6]
    with server:
        for address in ["127.0.0.1", *everywhere]:
            found = asked(f"http://a.example:{port}/", HTTP, {"a.example": [address]})
            assert found == "address_refused", address
        with pytest.raises(BlockingIOError):
            server.accept()


def test_one_address_of_a_name_that_is_not_public_refuses_them_all() -> None:
    names = {"a.example": ["93.184.216.34", "127.0.0.1"]}
    assert asked("http://a.example/", HTTP, names) == "address_refused"


def test_a_resolver_that_changes_its_mind_is_refused() -> None:
    """The name first leads to an address that is allowed, then to one that is not."""

    async def body() -> list[str | None]:
        answers = [["127.0.0.1"], ["127.0.0.2"], ["127.0.0.1"]]
        rules = Rules(http=True, allow=(ipaddress.ip_network("127.0.0.1/32"),))
        async with partner(status(200)) as server:
            async with egress(rules, lookup=lambda _host: answers.pop(0)) as made:
                url = f"http://a.example:{server.port}/"
                codes = [(await made.get(url, {})).code for _ in range(3)]
            assert len(server.heads) == 2
            assert not answers, "each connection asks anew"
        return codes

    assert asyncio.run(body()) == [None, "address_refused", None]


def test_the_guard_stands_where_the_socket_is_made() -> None:
    """Even what the resolver's own check would let pass is refused at the socket."""

    async def body() -> str | None:
        async with egress(HTTP, lookup=lambda _host: ["127.0.0.1"]) as made:
            resolver = made._session.connector._resolver  # type: ignore[union-attr]
            resolver._rules = LOOPBACK
            return (await made.get("http://a.example/", {})).code

    assert asyncio.run(body()) == "address_refused"


def test_a_name_without_an_address_is_told_apart() -> None:
    def nowhere(_host: str) -> Sequence[str]:
        raise socket.gaierror(-2, "Name or service not known")

    async def body() -> str | None:
        async with egress(HTTP, lookup=nowhere) as made:
            return (await made.get("http://a.example/", {})).code

    assert asyncio.run(body()) == "dns_failed"


def test_what_nobody_foresaw_is_a_failed_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a firing that is claimed again and again, for ever."""

    def broken(*_arguments: object, **_options: object) -> object:
        raise AssertionError("a fault of the client")

    async def body() -> Answer:
        async with egress(LOOPBACK) as made:
            return await made.get("http://127.0.0.1/", {})

    monkeypatch.setattr(aiohttp.ClientSession, "get", broken)
    assert asyncio.run(body()).code == "connection_lost"


def test_names_that_hang_hold_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as one partner may ask for at once, and one of them many times: a thread each."""
    monkeypatch.setattr(limits, "DELIVERY_S", 0.2)
    let_go, hanging = threading.Event(), []

    def lookup(host: str) -> Sequence[str]:
        if host != "good.example":
            hanging.append(host)
            let_go.wait(60)
        return ["127.0.0.1"]

    async def body() -> None:
        async with partner(status(200)) as server, egress(LOOPBACK, lookup=lookup) as made:
            names = [f"n{number}.example" for number in range(limits.DELIVERIES_PER_PARTNER_MAX)]
            for _ in range(2):
                asked = [made.get(f"http://{name}:{server.port}/", {}) for name in names * 3]
                assert {answer.code for answer in await asyncio.gather(*asked)} == {"timeout"}
            assert sorted(hanging) == sorted(names)
            good = await made.get(f"http://good.example:{server.port}/", {})
            assert good.status == 200
            let_go.set()

    try:
        asyncio.run(body())
    finally:
        let_go.set()


_PIECES = (
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n",
    b"HTTP/9.9 999 ?\r\n",
    b"HTTP/1.1 -1 \r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: -5\r\n",
    b"Content-Length: 99999999999999999999999\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Set-Cookie: \xff=;;;=\r\n",
    b"Retry-After: \xd9\xa3\r\n",
    b"Location: http://[::1\r\n",
    b"X: y\x00z\r\n",
    b"\r\n",
    b"ffffffffffffffffff\r\n",
    b"0\r\n\r\n",
    b"\x1f\x8b",
)


@given(st.lists(st.sampled_from(_PIECES) | st.binary(max_size=20), max_size=8).map(b"".join))
@settings(max_examples=60, deadline=None)
def test_whatever_a_server_says_is_an_answer_or_has_a_code(reply: bytes) -> None:
    async def body() -> Answer:
        async with partner(reply) as server, egress() as made:
            return await made.get(f"http://127.0.0.1:{server.port}/", {})

    answer = asyncio.run(body())
    assert (answer.status is None) == (answer.code in DELIVERY_CODES)
    outcome, code = outcome_of(answer)
    assert outcome in ("delivered", "retry", "final")
    assert code in DELIVERY_CODES
    pause = pause_ms(1, answer.retry_after, 0, 0)
    assert pause is not None
    assert RETRIES_MS[0] <= pause <= limits.RETRY_AFTER_MS_MAX


def test_a_request_is_the_url_byte_for_byte_and_carries_nothing_of_ours() -> None:
    async def body() -> None:
        target = "/a/../b%2fc?x=%7Ba%7D&y=[1]&z=a+b&&q={u}"
        set_cookie = status(200, Set_Cookie="a=b")
        async with partner(set_cookie, status(200)) as server, egress() as made:
            for _ in range(2):
                answer = await made.get(f"http://127.0.0.1:{server.port}{target}", {"X-One": "1"})
                assert answer.status == 200
            assert server.targets == [target, target]
            assert server.field("Host") == f"127.0.0.1:{server.port}"
            assert server.field("Cookie") is None
            assert server.field("X-One") == "1"
            assert server.field("User-Agent") == "Headwater-Courier/1"

    asyncio.run(body())


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    server, port = listening()
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
    with server:
        assert asked("http://127.0.0.1:9/", HTTP) == "address_refused"
        with pytest.raises(BlockingIOError):
            server.accept()
