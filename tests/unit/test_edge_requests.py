"""What a record keeps of a browser's request: each header, at and past its bound, and less of it
when consent is denied.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from edge_tools import KEY, FakeKeys, Running, client_of, serving
from headwater import limits
from headwater.edge.network import Networks
from headwater.model.records import Client, Flag, Request

PROXY = "127.0.0.1/32"
HEADERS = {
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-User": "?1",
    "Sec-Purpose": "prefetch",
    "Accept": "text/html",
    "Accept-Language": "de-DE,de;q=0.9,en;q=0.8",
    "Sec-CH-UA": '"Chromium";v="141"',
    "Sec-CH-UA-Mobile": "?0",
    "Sec-CH-UA-Platform": '"Windows"',
}
FIELDS = {
    "Sec-Fetch-Dest": ("fetch_dest", limits.FETCH_BYTES_MAX),
    "Sec-Fetch-Mode": ("fetch_mode", limits.FETCH_BYTES_MAX),
    "Sec-Fetch-Site": ("fetch_site", limits.FETCH_BYTES_MAX),
    "Sec-Fetch-User": ("fetch_user", limits.FETCH_BYTES_MAX),
    "Sec-Purpose": ("purpose", limits.PURPOSE_BYTES_MAX),
    "Accept": ("accept", limits.ACCEPT_BYTES_MAX),
    "Accept-Language": ("accept_language", limits.LANGUAGE_BYTES_MAX),
    "Sec-CH-UA": ("agent_brands", limits.AGENT_BRANDS_BYTES_MAX),
    "Sec-CH-UA-Mobile": ("agent_mobile", limits.AGENT_HINT_BYTES_MAX),
    "Sec-CH-UA-Platform": ("agent_platform", limits.AGENT_HINT_BYTES_MAX),
}
NOTHING = Request(11, False, *[None] * 10)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("edge"), networks=Networks(keys=FakeKeys())) as running:
        yield running


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("edge")
    with serving(folder, networks=Networks(keys=FakeKeys()), trusted_proxies=(PROXY,)) as running:
        yield running


def clicked(edge: Running, query: str = "", **headers: str) -> Client:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    edge.take()
    assert edge.call("GET", f"/c/spring_1{query}", headers=named).status == 302
    return client_of(edge.one())


def raw_click(edge: Running, *lines: bytes, version: bytes = b"1.1") -> Request:
    edge.take()
    head = b"GET /c/spring_1 HTTP/" + version + b"\r\nHost: x\r\nConnection: close\r\n"
    edge.raw(head + b"".join(line + b"\r\n" for line in lines) + b"\r\n")
    request = client_of(edge.one()).request
    assert request is not None
    return request


def test_every_header_that_came_is_kept(edge: Running) -> None:
    kept = clicked(edge, **HEADERS).request
    assert kept == Request(
        http_version=11,
        is_secure=False,
        fetch_dest="document",
        fetch_mode="navigate",
        fetch_site="cross-site",
        fetch_user="?1",
        purpose="prefetch",
        accept="text/html",
        accept_language="de-DE",
        agent_brands='"Chromium";v="141"',
        agent_mobile="?0",
        agent_platform='"Windows"',
    )


def test_a_header_that_did_not_come_is_none(edge: Running) -> None:
    assert raw_click(edge) == NOTHING
    for name, value in HEADERS.items():
        field, _bound = FIELDS[name]
        kept = raw_click(edge, f"{name}: {value}".encode())._asdict()
        assert kept.pop(field), name
        assert not any(kept[other] for other, _ in FIELDS.values() if other != field)


@pytest.mark.parametrize("name", FIELDS)
def test_a_header_is_cut_at_its_bound(edge: Running, name: str) -> None:
    field, bound = FIELDS[name]
    for size in (bound, bound + 1, 4000):
        kept = getattr(raw_click(edge, f"{name}: {'x' * size}".encode()), field)
        assert kept == "x" * bound


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("value", [b"\xff\xfe\x80", "é\u202e".encode(), b"a" * 15 + b"\xc3\xa9"])
def test_a_header_that_is_no_ascii_is_kept_in_its_bound(
    edge: Running, name: str, value: bytes
) -> None:
    field, bound = FIELDS[name]
    kept = getattr(raw_click(edge, name.encode() + b": " + value), field)
    assert kept
    assert len(kept.encode("utf-8")) <= bound


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        ("de", "de"),
        ("zh-Hant-TW;q=0.9, de", "zh-Hant-TW"),
        (" en-US , de", "en-US"),
        ("*", "*"),
        (",de", ""),
        (";q=1", ""),
        ("x" * 17 + ",de", "x" * 16),
        ("x" * 4000, "x" * 16),
    ],
)
def test_the_first_language_counts(edge: Running, header: str, kept: str) -> None:
    assert raw_click(edge, b"Accept-Language: " + header.encode()).accept_language == kept


@pytest.mark.parametrize("name", ["Purpose", "X-Purpose", "X-Moz"])
def test_forerunners_of_the_purpose_are_read_too(edge: Running, name: str) -> None:
    assert raw_click(edge, f"{name}: prefetch".encode()).purpose == "prefetch"
    both = raw_click(edge, f"{name}: preview".encode(), b"Sec-Purpose: odd")
    assert both.purpose == "preview"
    assert raw_click(edge, f"{name}: other".encode(), b"Sec-Purpose: odd").purpose == "odd"


def test_the_version_is_the_browsers_own(edge: Running, proxied: Running) -> None:
    """A proxy speaks its own to the edge, so of what comes through one nothing is known."""
    assert raw_click(edge).http_version == 11
    assert raw_click(edge, version=b"1.0").http_version == 10
    assert raw_click(proxied).http_version == 0


def test_only_a_trusted_proxy_says_that_the_browser_came_over_tls(
    edge: Running, proxied: Running
) -> None:
    header = b"X-Forwarded-Proto: https"
    assert not raw_click(edge, header).is_secure
    assert raw_click(proxied, header).is_secure
    assert raw_click(proxied, b"X-Forwarded-Proto: http, HTTPS").is_secure
    assert not raw_click(proxied, b"X-Forwarded-Proto: https, http").is_secure
    assert not raw_click(proxied).is_secure


def test_the_network_is_the_forwarded_visitors(edge: Running, proxied: Running) -> None:
    for address, prefix in (
        ("198.51.100.77", "198.51.100.0/24"),
        ("2001:db8:aaaa:bbbb::1", "2001:db8:aaaa::/48"),
    ):
        seen = clicked(proxied, X_Forwarded_For=address)
        assert seen.address_prefix == prefix
        assert seen.network
        assert seen.network != clicked(proxied).network
        assert clicked(edge, X_Forwarded_For=address) == clicked(edge)


@pytest.mark.parametrize("way", ["?consent=denied", ""])
def test_without_consent_nothing_tells_one_visitor_from_another(edge: Running, way: str) -> None:
    gpc = {} if way else {"Sec-GPC": "1"}
    kept = clicked(edge, way, **HEADERS, **gpc)
    assert kept[:3] == (None, "desktop", None)
    assert kept.network
    assert kept.network[:2] == (None, None)
    assert kept.request == Request(
        *(11, False, "document", "navigate", "cross-site", "?1", "prefetch", "text/html"),
        accept_language="*",
        agent_brands=None,
        agent_mobile=None,
        agent_platform=None,
    )


def test_without_consent_a_missing_language_stays_missing(edge: Running) -> None:
    assert raw_click(edge, b"Sec-GPC: 1").accept_language is None


# ---- reports

PIXEL = "/px.gif?program=check&event=sale&order_id=A-1&amount=1&customer_id=c"


def test_a_pixel_shows_its_own_browser_whatever_it_says(edge: Running) -> None:
    forged = "&ip=192.0.2.7&user_agent=Forged"
    assert edge.call("GET", PIXEL + forged, headers={**HEADERS, "Referer": "https://a.example/"})
    kept = client_of(edge.one())
    assert kept.address_prefix == "127.0.0.0/24"
    assert kept.user_agent != "Forged"
    assert kept.referrer == "https://a.example/"
    assert kept.request
    assert kept.request.fetch_dest == "document"
    assert kept.network
    assert kept.network.address


def test_a_refused_pixel_keeps_the_caller_too(edge: Running) -> None:
    edge.call("GET", "/px.gif?program=check&event=sale", headers=HEADERS)
    record = edge.one()
    assert record.body.refused
    kept = client_of(record)
    assert kept.request
    assert kept.network
    assert kept.network.address
    edge.call("GET", "/px.gif?program=nobodys&event=sale", headers=HEADERS)
    kept = client_of(edge.one())
    assert kept.network
    assert kept.network.address is None, "a digest is a brand's, and no brand is known"


def reported(edge: Running, path: str, **fields: Any) -> Client:
    edge.take()
    body = {"program": "check", **fields}
    reply = edge.call("POST", path, body, HEADERS, KEY)
    assert reply.status in (201, 202), reply.body
    return client_of(edge.one())


SALE = {"event": "sale", "order_id": "A-1", "customer_id": "c"}


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/conversions", SALE),
        ("/v1/clicks", {"partner": "prt_7"}),
        ("/v1/identify", {"customer_id": "c"}),
    ],
)
def test_a_servers_own_connection_is_nobodys(
    edge: Running, path: str, fields: dict[str, Any]
) -> None:
    assert reported(edge, path, **fields) == Client(None, None, None, None, None)
    named = reported(edge, path, **fields, ip="192.0.2.7", user_agent="Phone/1")
    assert named.address_prefix == "192.0.2.0/24"
    assert named.user_agent == "Phone/1"
    assert named.request is None
    assert named.network
    assert named.network.address
    denied = reported(edge, path, **fields, ip="192.0.2.7", consent="denied")
    assert denied.address_prefix is None
    assert denied.network
    assert denied.network[:2] == (None, None)


def test_a_postback_shows_nobody(edge: Running) -> None:
    query = f"program=check&token={KEY}&event=sale&order_id=A-1&customer_id=c"
    assert edge.call("GET", f"/postback?{query}", headers=HEADERS).status == 200
    assert client_of(edge.one()) == Client(None, None, None, None, None)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("2026-01-01T00:00:00%2B01:00", 1_767_222_000_000),
        ("2026-01-01T00:00:00+01:00", 1_767_222_000_000),
        ("", None),
    ],
)
def test_a_pixel_tells_when_the_checkout_began(edge: Running, said: str, kept: int | None) -> None:
    edge.take()
    edge.call("GET", f"{PIXEL}&checkout_started_at={said}")
    assert edge.one().body.started_ms == kept


def test_a_honeypot_reported_by_a_server_says_so(edge: Running) -> None:
    value = {"program": 1, "partner": 7, "code": "trap", "url": "https://a.example/"}
    edge.edge.table.apply("link", 55, {**value, "honeypot": True})
    edge.take()
    edge.call("POST", "/v1/clicks", {"program": "check", "link": "trap"}, None, KEY)
    assert edge.one().body.flags == Flag.HONEYPOT


def mailed(edge: Running, **fields: Any) -> Flag:
    edge.take()
    body = {"program": "check", "event": "lead", **fields}
    assert edge.call("POST", "/v1/conversions", body, None, KEY).status == 201
    return Flag(edge.one().body.flags)


def test_disposable_mail_is_flagged_where_there_is_a_list(edge: Running) -> None:
    mail = {"email": "a@sub.mailinator.com"}
    assert mailed(edge, **mail) == Flag(0)
    edge.edge.networks.lists.load()
    found = Flag.EMAIL_LOOKED_UP | Flag.DISPOSABLE_EMAIL
    assert mailed(edge, **mail) == found
    assert mailed(edge, **mail, consent="denied", promo_code="x") == found | Flag.CONSENT_DENIED
    assert mailed(edge, email="a@example.org") == Flag.EMAIL_LOOKED_UP
    assert mailed(edge, email_sha256="0" * 64) == Flag(0)
    assert mailed(edge, customer_id="c") == Flag(0)
    edge.call("GET", "/px.gif?program=check&event=lead&email=a@mailinator.com")
    assert edge.one().body.flags == found
