"""Signed links: what a signature covers, and what becomes of parameters without one. Row P9."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from urllib.parse import quote, urlencode

import pytest

from edge_tools import IDENTITY_KEY, Running, link, program, serving
from headwater.model import signing
from headwater.model.records import Flag

OLD, NEW, OTHER = "00" * 16, "11" * 16, "22" * 16
NOW_MS = 1_800_000_000_000
DEEP = "https://shop.example/p?x=1"
QUERY = {"sub1": "a b/c", "sub2": "ü\nsub3=z", "u": DEEP, "sig_expires": "1800000060"}


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("edge")) as running:
        running.edge.now_ms = lambda: NOW_MS
        running.edge.table.apply("link", 70, link(code="x", url="https://shop.example/?s={sub1}"))
        yield running


@pytest.fixture(autouse=True)
def _ordinary(edge: Running) -> Iterator[None]:
    edge.take()
    yield
    edge.edge.now_ms = lambda: NOW_MS


def secret(salt: str = NEW, number: int = 1) -> str:
    return signing.secret(IDENTITY_KEY, number, salt)


def follow(
    edge: Running, query: dict[str, str], mode: str = "require"
) -> tuple[str, int, dict[str, str]]:
    """Where a visit is sent, and the flags and parameters of its record."""
    edge.edge.table.apply("program", 1, program(link_signing=mode, link_salts=[OLD, NEW]))
    reply = edge.call("GET", f"/c/x?{urlencode(query)}")
    assert reply.status == 302
    body = edge.one().body
    return str(reply.headers["Location"]), body[3] & ~Flag.NEW_VISITOR, body[5]


def signed(query: dict[str, str], text: str = "", **changes: str) -> dict[str, str]:
    known = {"program": "check", "partner": "prt_7", **changes}
    return {**query, "sig": signing.sign(text or secret(), values=query, **known)}


def test_the_message_is_what_the_documentation_says() -> None:
    """An independent making of the signature, as a partner's own program would do it."""
    names = [*(f"sub{number}" for number in range(1, 11)), "u", "sig_expires"]
    lines = ["program=check", "partner=prt_7"]
    lines += [f"{name}={quote(QUERY[name], safe='')}" for name in names if name in QUERY]
    made = hmac.new(secret().encode(), "\n".join(lines).encode(), hashlib.sha256).hexdigest()
    assert signed(QUERY)["sig"] == made


@pytest.mark.parametrize("salt", [OLD, NEW])
@pytest.mark.parametrize("mode", ["report", "require"])
def test_p9_a_signed_link_is_followed_under_either_secret(
    edge: Running, salt: str, mode: str
) -> None:
    location, flags, params = follow(edge, signed(QUERY, secret(salt)), mode)
    assert location.startswith(DEEP + "&click_id=clk_")
    assert flags == 0
    assert params == {"sub1": "a b/c", "sub2": QUERY["sub2"]}


TAMPERED: dict[str, dict[str, str]] = {
    "no signature": QUERY,
    "empty signature": {**QUERY, "sig": ""},
    "a signature of nothing": {"sig": "0" * 64},
    "sub id changed": {**signed(QUERY), "sub1": "evil"},
    "sub id added": {**signed(QUERY), "sub9": "evil"},
    "sub id moved": {**signed({"sub1": "a"}), "sub1": "", "sub2": "a"},
    "destination changed": {**signed(QUERY), "u": "https://shop.example/other"},
    "destination taken away": {k: v for k, v in signed(QUERY).items() if k != "u"},
    "expiry put off": {**signed(QUERY), "sig_expires": "1900000000"},
    "expiry taken away": {k: v for k, v in signed(QUERY).items() if k != "sig_expires"},
    "expired": signed({**QUERY, "sig_expires": "1800000000"}),
    "expiry no number": signed({**QUERY, "sig_expires": "never"}),
    "another partner": signed(QUERY, partner="prt_8"),
    "another program": signed(QUERY, program="other"),
    "another program's secret": signed(QUERY, secret(NEW, 2)),
    "a retired secret": signed(QUERY, secret(OTHER)),
    "upper case": {**QUERY, "sig": signed(QUERY)["sig"].upper()},
    "not ASCII": {**QUERY, "sig": "é\udcff".encode("utf-8", "replace").decode()},
    "cut": {**QUERY, "sig": signed(QUERY)["sig"][:-1]},
}


@pytest.mark.parametrize("case", TAMPERED)
def test_p9_tampered_parameters_are_dropped_where_signatures_are_required(
    edge: Running, case: str
) -> None:
    location, flags, params = follow(edge, TAMPERED[case])
    assert location.startswith("https://shop.example/?s=&click_id=clk_")
    assert flags == Flag.LINK_TAMPERED
    assert params == {}


@pytest.mark.parametrize("case", [case for case in TAMPERED if case != "a signature of nothing"])
def test_p9_tampered_parameters_are_flagged_where_they_are_reported(
    edge: Running, case: str
) -> None:
    query = TAMPERED[case]
    location, flags, params = follow(edge, query, "report")
    assert flags == Flag.LINK_TAMPERED
    assert params == {name: value for name, value in query.items() if "sub" in name and value}
    assert location.startswith(query.get("u", "https://shop.example/?s="))


def test_p9_what_a_signature_does_not_cover_needs_none(edge: Running) -> None:
    for query in ({}, {"utm_source": "x", "shared_id": "s", "qr": "1"}):
        _, flags, params = follow(edge, query)
        assert not flags & Flag.LINK_TAMPERED
    _, flags, params = follow(edge, {"utm_source": "x", "shared_id": "s", "sub1": "a", "qr": "1"})
    assert flags == Flag.LINK_TAMPERED | Flag.QR
    assert params == {"shared_id": "s", "utm_source": "x"}


def test_p9_signatures_count_for_nothing_where_links_are_not_signed(edge: Running) -> None:
    location, flags, _ = follow(edge, {**QUERY, "sig": "0" * 64}, "off")
    assert location.startswith(DEEP)
    assert flags == 0
    unsecret = program(link_signing="require", link_salts=[])
    edge.edge.table.apply("program", 1, unsecret)
    assert edge.call("GET", "/c/x?sub1=a").status == 302
    assert edge.one().body[5] == {"sub1": "a"}


def test_p9_a_signature_is_never_handed_on(edge: Running) -> None:
    names = ["sig", "sig_expires", "color"]
    value = program(link_signing="report", link_salts=[NEW], forward_params=names)
    edge.edge.table.apply("program", 1, value)
    location = edge.call("GET", f"/c/x?{urlencode({**signed(QUERY), 'color': 'red'})}").headers[
        "Location"
    ]
    assert "color=red" in location
    assert "sig" not in location


def test_p9_a_preview_honours_signatures_too(edge: Running) -> None:
    edge.edge.table.apply("program", 1, program(link_signing="require", link_salts=[NEW]))
    shown = edge.call("GET", f"/c/x+?{urlencode(signed({'u': DEEP}))}").body
    assert b"https://shop.example/p?x=1" in shown
    unsigned = edge.call("GET", f"/c/x+?{urlencode({'u': DEEP})}").body
    assert b"https://shop.example/p?x=1" not in unsigned


def test_a_secret_is_of_its_deployment_program_and_salt() -> None:
    made = {
        signing.secret(key, number, salt)
        for key in (IDENTITY_KEY, bytes(32))
        for number in (1, 2)
        for salt in (OLD, NEW)
    }
    assert len(made) == 8
    assert all(len(text) == 64 for text in made)
