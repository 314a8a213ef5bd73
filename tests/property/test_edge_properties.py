"""Whatever is sent: values are read exactly or refused by name, and nothing else happens."""

from __future__ import annotations

import json
import re
import urllib.parse
from decimal import Decimal

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from headwater import ids, limits
from headwater.edge import cards, client, cookies, deeplink, links, moments, parse, redirect
from headwater.edge.address import place
from headwater.edge.links import LinkTable
from headwater.edge.money import AmountRefused, minor_units
from headwater.edge.network import Networks
from headwater.edge.query import Query, decode, split_target
from headwater.edge.responses import Redirect
from headwater.edge.targets import Targets
from headwater.edge.text import bytes_count, cut, has_control, is_plain
from headwater.errors import RequestRefused
from headwater.model.currency import EXPONENTS

QUICK = settings(max_examples=150, deadline=None, derandomize=True)

any_text = st.text(st.characters(codec=None), max_size=200)
# What the wire can bring: bytes that are no UTF-8 come as surrogates.
wire_text = st.binary(max_size=200).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=200)
currencies = st.sampled_from(sorted(EXPONENTS))


@QUICK
@given(st.decimals(0, 10**14, allow_nan=False, places=None), currencies)
def test_an_amount_is_its_decimal_value_or_refused(value: Decimal, currency: str) -> None:
    text = f"{value:f}"
    exponent = EXPONENTS[currency]
    _, _, fraction = text.partition(".")
    if len(text) > 36 or len(fraction) > exponent:
        with pytest.raises(AmountRefused) as refused:
            minor_units(text, currency)
        assert refused.value.code == ("amount_precision" if len(text) <= 36 else "amount_invalid")
    else:
        assert Decimal(minor_units(text, currency)).scaleb(-exponent) == value


@QUICK
@given(st.integers(0, 10**18 - 1), currencies)
def test_minor_units_survive_being_written_out(minor: int, currency: str) -> None:
    exponent = EXPONENTS[currency]
    text = f"{Decimal(minor).scaleb(-exponent):f}"
    assert minor_units(text, currency) == minor
    assert minor_units(parse.parse_json(text.encode()), currency) == minor


@QUICK
@given(st.one_of(any_text, st.floats(), st.booleans(), st.none(), st.integers(), st.binary()))
def test_no_amount_raises_anything_else(amount: object) -> None:
    code = ""
    try:
        assert 0 <= minor_units(amount, "EUR") < 10**limits.AMOUNT_DIGITS_MAX
    except AmountRefused as refused:
        code = refused.code
    assert code in {"", "amount_invalid", "amount_negative", "amount_precision"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@QUICK
@given(json_values, st.booleans())
def test_a_json_value_is_read_as_it_was_written(value: object, escaped: bool) -> None:
    raw = json.dumps(value, ensure_ascii=escaped)
    assert parse.parse_json(raw.encode("utf-8")) == value


@QUICK
@given(st.binary(max_size=200))
@example(b"[" * 5000)
@example(b'"\\ud800"')
@example(b"\xff")
def test_any_bytes_are_a_body_or_refused(raw: bytes) -> None:
    for parser in (parse.parse_json, parse.parse_msgpack):
        code = ""
        try:
            value = parser(raw)
            json.dumps(value, ensure_ascii=False, default=repr).encode("utf-8")
        except RequestRefused as refused:
            code = refused.code
        assert code in {"", "malformed_body", "duplicate_key"}


@QUICK
@given(st.text(alphabet='[]{}",:\\1 ', max_size=120))
def test_depth_is_judged_as_a_parser_would(text: str) -> None:
    raw = text.encode()
    try:
        json.loads(raw)
    except (ValueError, RecursionError):
        return
    assert parse.too_deep(raw) == (_depth(json.loads(raw)) > limits.JSON_DEPTH_MAX)


def _depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max((_depth(each) for each in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((_depth(each) for each in value), default=0)
    return 0


@QUICK
@given(any_text, st.integers(1, 300))
def test_b17_a_cut_text_fits_and_encodes(text: str, bytes_max: int) -> None:
    kept = cut(text, bytes_max)
    assert len(kept.encode("utf-8")) <= bytes_max
    json.dumps(kept, ensure_ascii=False).encode("utf-8")
    if text.isascii() and len(text) <= bytes_max:
        assert kept == text
    assert bytes_count(text) >= 0
    assert isinstance(has_control(text), bool)
    assert is_plain(text) == (bool(text) and all(" " <= c <= "~" for c in text))


@QUICK
@given(st.binary(max_size=300), st.binary(max_size=300))
def test_b17_any_header_bytes_are_kept_in_a_form_that_encodes(
    agent: bytes, referrer: bytes
) -> None:
    caller = client.Caller(
        "203.0.113.9",
        agent.decode("utf-8", "surrogateescape"),
        referrer.decode("utf-8", "surrogateescape"),
    )
    kept = client.kept(Networks(), caller, 1, 0, denied=False)
    json.dumps(kept, ensure_ascii=False).encode("utf-8")


PROXIES = client.TrustedProxies(["10.0.0.0/8", "fd00::/8"])
addresses = st.ip_addresses().map(str)
hops = st.one_of(addresses, addresses.map(lambda a: f"[{a}]:80"), any_text)


@QUICK
@given(addresses, st.lists(st.lists(hops, max_size=6).map(",".join), max_size=4))
def test_b16_a_chain_never_raises_and_never_names_what_is_no_hop(
    peer: str, chain: list[str]
) -> None:
    found = PROXIES.client(peer, chain)
    if not PROXIES.trusts(peer):
        assert found == peer
    place(found)


@QUICK
@given(st.lists(addresses, min_size=1, max_size=8), st.integers(0, 6))
def test_b16_what_a_client_forges_to_the_left_changes_nothing(
    forged: list[str], proxies: int
) -> None:
    chain = ["198.51.100.7", *["10.0.0.9"] * proxies]
    honest = PROXIES.client("10.0.0.1", [", ".join(chain)])
    assert PROXIES.client("10.0.0.1", [", ".join([*forged, *chain])]) == honest == "198.51.100.7"


@QUICK
@given(any_text)
def test_b18_any_cookie_header_is_read(header: str) -> None:
    found = cookies.read([header])
    assert found is None or cookies.is_visitor(found)


@QUICK
@given(st.binary(min_size=16, max_size=16), any_text, any_text)
def test_b18_a_visitor_id_is_found_among_anything(raw: bytes, left: str, right: str) -> None:
    value = ids.encode(raw)
    # One character over and over is a placeholder.
    assert cookies.is_visitor(value) == (len(set(value)) > 1)
    assume(cookies.is_visitor(value))
    left = left.replace("hw_visitor", "")
    assert cookies.read([f"{left}; hw_visitor={value}; {right}"]) == value


@QUICK
@given(any_text)
def test_b1_only_the_charset_is_a_code(text: str) -> None:
    assert links.well_formed_code(text) == bool(
        1 <= len(text) <= 64 and all(c.isascii() and (c.isalnum() or c in "_-") for c in text)
    )


@QUICK
@given(any_text)
@example("https://shop.example/")
@example("https://shop.example\\@evil.example/")
def test_b2_whatever_is_allowed_leads_to_the_program(url: str) -> None:
    for candidate in (url, f"https://shop.example{url}", f"https:{url}", f"//{url}"):
        if deeplink.allowed(candidate, hosts={"shop.example"}, suffixes=(), http=False):
            assert re.match(r"https://shop\.example(?:[/?#]|\Z)", candidate)
            assert candidate.isascii()
            assert candidate.isprintable()
            assert "\\" not in candidate
            assert " " not in candidate
            assert urllib.parse.urlsplit(candidate).netloc == "shop.example"


@QUICK
@given(st.lists(st.tuples(any_text, any_text), max_size=20))
def test_b4_an_encoded_query_comes_back_first_wins(pairs: list[tuple[str, str]]) -> None:
    clean = [(cut(name, 50), cut(value, 50)) for name, value in pairs]
    query = Query(urllib.parse.urlencode(clean))
    expected: dict[str, str] = {}
    for name, value in clean:
        expected.setdefault(name, value)
    assert dict(query.items()) == expected


@QUICK
@given(wire_text)
def test_b4_any_target_is_split_and_read(text: str) -> None:
    path, query = split_target(text)
    assert "?" not in path
    assert "#" not in path + query
    parsed = Query(query)
    assert len(parsed.items()) <= limits.QUERY_PARAMETERS_MAX
    "".join(f"{name}{value}" for name, value in parsed.items()).encode("utf-8")
    assert decode(text).encode("utf-8") is not None


PROGRAM = links._read_program(
    1,
    {
        "brand": 1,
        "code": "check",
        "destination_url": "https://shop.example/",
        "currency": "EUR",
        "forward_params": ["a", "b c", "é"],
    },
)


@QUICK
@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=80), printable)
def test_b3_a_location_keeps_its_bytes_and_is_safe(rest: str, query: str) -> None:
    rest = rest.replace("\\", "")
    table = LinkTable()
    url = f"https://shop.example/{rest}"
    table.apply("link", 1, {"program": 1, "partner": 1, "code": "x", "url": url})
    link = table.links[1]
    target = Targets().of(link, PROGRAM).own
    visit = redirect._Visit(link, PROGRAM, Query(query), 0, target, False, False)
    location = redirect._location(visit, "clk_1")
    Redirect(location)
    head, mark, fragment = url.partition("#")
    assert location.startswith(head)
    assert location.endswith("click_id=clk_1" + mark + fragment)
    added = location[len(head) : len(location) - len(mark + fragment)]
    assert re.fullmatch(r"[A-Za-z0-9._~%=&?_-]*", added)
    assert redirect._location(visit._replace(query=Query("")), "") == url


@QUICK
@given(any_text)
def test_no_time_raises_anything_else(text: str) -> None:
    code = ""
    try:
        moments.claimed_ms(text, 1_800_000_000_000)
    except moments.MomentRefused as refused:
        code = refused.code
    assert code in {"", "invalid", "time_out_of_range"}


@QUICK
@given(st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat()))
def test_a_written_time_is_in_range_or_refused(text: str) -> None:
    try:
        at_ms = moments.claimed_ms(text, 1_800_000_000_000)
    except moments.MomentRefused:
        return
    assert moments.EARLIEST_MS <= at_ms <= 1_800_000_000_000 + limits.FUTURE_MS_MAX


@QUICK
@given(
    st.sampled_from(["4", "51", "34", "6011", "35"]), st.integers(0, 10**14), st.sampled_from("- ")
)
def test_a_card_number_is_seen_in_groups_too(start: str, number: int, mark: str) -> None:
    length = 15 if start == "34" else 16
    digits = (start + str(number).rjust(14, "0"))[: length - 1]
    check = next(str(last) for last in range(10) if cards.luhn(digits + str(last)))
    card = digits + check
    if start == "35" and not 28 <= int(card[2:4]) <= 89:
        return
    grouped = mark.join(card[at : at + 4] for at in range(0, length, 4))
    for text in (card, grouped, f"x {card}.", f"({grouped})"):
        assert cards.looks_like_card(text), text


@QUICK
@given(any_text)
def test_a_location_with_a_break_is_never_sent(text: str) -> None:
    location = "https://shop.example/" + text
    if re.search(r"[^\x20-\x7e]", location):
        with pytest.raises(ValueError):
            Redirect(location)
    else:
        assert Redirect(location).location == location
