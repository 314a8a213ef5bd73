"""Values of requests: amounts, bodies, times, cards. Rows B9-B12 of the bad-input table."""

from __future__ import annotations

import json

import msgpack
import pytest

from headwater import clock, limits
from headwater.edge import cards, moments, parse
from headwater.edge.money import AmountRefused, currency_code, minor_units
from headwater.edge.query import Query, split_target
from headwater.edge.text import cut
from headwater.errors import RequestRefused

NOW_MS = clock.parse_iso_ms("2026-06-15T12:00:00Z")


def number(text: str) -> object:
    """A JSON number as a body's parser gives it."""
    return parse.parse_json(text.encode())


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("10.00", "EUR", 1000),
        ("10", "EUR", 1000),
        ("10.5", "EUR", 1050),
        ("0", "EUR", 0),
        ("0.00", "EUR", 0),
        ("007.10", "EUR", 710),
        ("1000", "JPY", 1000),
        ("1.234", "BHD", 1234),
        ("9999999999999999.99", "EUR", 10**18 - 1),
        (10, "EUR", 1000),
        (number("10.10"), "EUR", 1010),
        (number("0.1"), "EUR", 10),
        (number("123456789012345.67"), "EUR", 12345678901234567),
    ],
)
def test_an_amount_is_read_exactly(amount: object, currency: str, minor: int) -> None:
    assert minor_units(amount, currency) == minor


@pytest.mark.parametrize(
    ("amount", "currency", "code"),
    [
        ("-1", "EUR", "amount_negative"),
        (-1, "EUR", "amount_negative"),
        ("-0.00", "EUR", "amount_negative"),
        ("10.001", "EUR", "amount_precision"),
        (number("10.001"), "EUR", "amount_precision"),
        ("10.50", "JPY", "amount_precision"),
        ("10000000000000000.00", "EUR", "amount_invalid"),
        ("1" * 19, "JPY", "amount_invalid"),
        ("9" * 5000, "EUR", "amount_invalid"),
        (10**30, "EUR", "amount_invalid"),
        (number("1" * 5000), "EUR", "amount_invalid"),
        ("", "EUR", "amount_invalid"),
        (".5", "EUR", "amount_invalid"),
        ("5.", "EUR", "amount_invalid"),
        ("+5", "EUR", "amount_invalid"),
        (" 5", "EUR", "amount_invalid"),
        ("5\n", "EUR", "amount_invalid"),
        ("1,000.00", "EUR", "amount_invalid"),
        ("1e3", "EUR", "amount_invalid"),
        (number("1e3"), "EUR", "amount_invalid"),
        (number("1e999"), "EUR", "amount_invalid"),
        ("0x10", "EUR", "amount_invalid"),
        ("NaN", "EUR", "amount_invalid"),
        ("٣", "EUR", "amount_invalid"),
        ("１０", "EUR", "amount_invalid"),
        ("1\u202e0", "EUR", "amount_invalid"),
        (10.5, "EUR", "amount_invalid"),
        (True, "EUR", "amount_invalid"),
        ([], "EUR", "amount_invalid"),
        ({}, "EUR", "amount_invalid"),
    ],
)
def test_b11_an_amount_that_is_none_is_refused(amount: object, currency: str, code: str) -> None:
    with pytest.raises(AmountRefused) as refused:
        minor_units(amount, currency)
    assert refused.value.code == code


def test_b11_a_currency_is_of_the_standard() -> None:
    assert currency_code("EUR") == currency_code("eur") == "EUR"
    for text in ("EURO", "ABC", "", "€", "ＥＵＲ", "EUR\n", "ſek"):
        assert currency_code(text) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b"\xef\xbb\xbf{}",
        b"{}x",
        b"{} {}",
        b'{"a":1,}',
        b"{'a':1}",
        b'{"a":\x00}',
        b'{"a":"\x01"}',
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\\ud800"}',
        b'["\\udc00x"]',
        b'{"\\ud800":1}',
        b'{"a":01}',
        b'{"a":.5}',
        b'{"a":+1}',
        b'"\\x41"',
        b"[" * 100_000,
        b"{" * 100_000,
        b'{"a":' * 50_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"[]" * 20 + b"[" * 50,
        "{}".encode("utf-16"),
        b"nul",
    ],
)
def test_b9_a_body_that_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(RequestRefused) as refused:
        parse.parse_json(raw)
    assert refused.value.code == "malformed_body"


@pytest.mark.parametrize(
    "raw", [b'{"a":1,"a":1}', b'[{"b":{"a":1,"\\u0061":2}}]', b'{"a":null,"a":2}']
)
def test_b9_a_key_named_twice_is_refused(raw: bytes) -> None:
    with pytest.raises(RequestRefused) as refused:
        parse.parse_json(raw)
    assert refused.value.code == "duplicate_key"


def test_b9_numbers_keep_what_was_written() -> None:
    value = parse.parse_json(b'{"a":1.10,"b":-0,"c":12345678901234567890,"d":1e999}')
    assert isinstance(value["a"], parse.Number)
    assert value["a"].text == "1.10"
    assert value["b"] == 0
    assert value["c"].text == "12345678901234567890"
    assert value["d"].text == "1e999"


def test_b9_a_pair_of_surrogate_escapes_is_a_character() -> None:
    assert parse.parse_json(b'{"a":"\\ud83d\\ude00"}') == {"a": "\U0001f600"}


@pytest.mark.parametrize("raw", [b'"' + b'\\"' * 500_000, b'"' + b"\\" * 1_000_001, b'"' * 999_999])
def test_b9_strings_that_are_not_closed_cost_no_more_than_others(raw: bytes) -> None:
    """Looked through once for each quote, they would hold the loop for hours."""
    with pytest.raises(RequestRefused, match="malformed_body"):
        parse.parse_json(b"[" * 100 + raw)
    with pytest.raises(RequestRefused, match="malformed_body"):
        parse.parse_json(b'["' + b"[" * 100 + b'"' + raw)


def test_b9_brackets_in_strings_do_not_nest() -> None:
    text = json.dumps({"a": "[" * 500 + '\\"' + "{" * 500})
    assert parse.parse_json(text.encode())["a"].startswith("[")


@pytest.mark.parametrize("extra", [0, 1])
def test_b9_nesting_is_bounded_at_the_limit(extra: int) -> None:
    depth = limits.JSON_DEPTH_MAX + extra
    raw = b"[" * depth + b"]" * depth
    if extra == 0:
        assert parse.parse_json(raw)
    else:
        with pytest.raises(RequestRefused):
            parse.parse_json(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xc1",
        msgpack.packb({1: 2}),
        msgpack.packb({b"a": 2}),
        msgpack.packb({"a": msgpack.Timestamp(1)})[:-1],
        msgpack.packb({"a": msgpack.ExtType(5, b"x")}),
        msgpack.packb("a") + b"\x01",
        b"\x81\xa1a\xa1\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 5000 + b"\x01",
        b"\x91" * (limits.JSON_DEPTH_MAX + 2) + b"\x01",
    ],
)
def test_b9_a_body_that_is_no_msgpack_is_refused(raw: bytes) -> None:
    with pytest.raises(RequestRefused) as refused:
        parse.parse_msgpack(raw)
    assert refused.value.code == "malformed_body"


def test_a_msgpack_body_is_read() -> None:
    assert parse.parse_msgpack(msgpack.packb({"a": [1, "é", None, True]})) == {
        "a": [1, "é", None, True]
    }


def test_b9_a_msgpack_key_named_twice_is_refused() -> None:
    with pytest.raises(RequestRefused) as refused:
        parse.parse_msgpack(b"\x82\xa1a\x01\xa1a\x02")
    assert refused.value.code == "duplicate_key"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("1970-01-01T00:00:00Z", "time_out_of_range"),
        ("1999-12-31T23:59:59Z", "time_out_of_range"),
        ("2026-06-15T12:05:00.001Z", "time_out_of_range"),
        ("2262-04-12T00:00:00Z", "time_out_of_range"),
        ("9999-12-31T23:59:59-23:59", "time_out_of_range"),
        ("0001-01-01T00:00:00+23:59", "time_out_of_range"),
        ("1764000000", "invalid"),
        ("1764000000000", "invalid"),
        ("1764000000000000", "invalid"),
        ("2026-06-15", "invalid"),
        ("2026-06-15T12:00:00", "invalid"),
        ("20260615T120000Z", "invalid"),
        ("2026-W24-1T00:00:00Z", "invalid"),
        ("2026-02-30T00:00:00Z", "invalid"),
        ("2026-06-15T25:00:00Z", "invalid"),
        ("2026-06-15T12:00:60Z", "invalid"),
        ("２026-06-15T12:00:00Z", "invalid"),
        ("2026-06-15T12:00:00Z\n", "invalid"),
        ("now", "invalid"),
    ],
)
def test_a_time_that_cannot_be_is_refused(text: str, code: str) -> None:
    with pytest.raises(moments.MomentRefused) as refused:
        moments.claimed_ms(text, NOW_MS)
    assert refused.value.code == code


def test_a_time_is_taken_up_to_five_minutes_ahead_with_any_offset() -> None:
    assert moments.claimed_ms("2026-06-15T12:05:00Z", NOW_MS) == NOW_MS + limits.FUTURE_MS_MAX
    assert moments.claimed_ms("2026-06-15T14:00:00+02:00", NOW_MS) == NOW_MS
    assert moments.claimed_ms("2026-06-15t12:00:00.250z", NOW_MS) == NOW_MS + 250


CARDS = [
    "4111111111111111",
    "4111 1111 1111 1111",
    "4111-1111-1111-1111",
    "5500005555555559",
    "2223003122003222",
    "378282246310005",
    "30569309025904",
    "6011111111111117",
    "3530111333300000",
    "6200000000000005",
    "pay with 4242424242424242, thanks",
    "4222222222222",
]


@pytest.mark.parametrize("text", CARDS)
def test_a_card_number_is_recognised(text: str) -> None:
    assert cards.looks_like_card(text)


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",
        "411111111111111",
        "0000000000000000",
        "1764201600123",
        "5123456789018",
        "+8613800138000",
        "41111111111111114111111111111111",
        "a" * 24 + "4111111111111111" + "b" * 24,
        "",
    ],
)
def test_other_long_numbers_are_no_cards(text: str) -> None:
    assert not cards.looks_like_card(text)


@pytest.mark.parametrize(
    "value", [{"a": [{"b": CARDS[0]}]}, {CARDS[0]: 1}, {"n": 4111111111111111}]
)
def test_a_card_number_is_found_wherever_it_hides(value: dict[str, object]) -> None:
    with pytest.raises(RequestRefused) as refused:
        cards.refuse_cards(value)
    assert refused.value.code == "card_number_refused"
    assert "4111" not in str(refused.value)


def test_the_test_card_needs_its_cvv_and_an_expiry_not_past() -> None:
    def judge(**changes: object) -> bool:
        payment = {"card_number": "0" * 16, "cvv": "100", "expiry": "06/26", **changes}
        return cards.is_test_payment(payment, 2026, 6)

    assert judge()
    assert judge(card_number="0000 0000 0000 0000", cvv=100, expiry="2026-06")
    assert judge(expiry="12/2031")
    assert not cards.is_test_payment({}, 2026, 6)
    for wrong in (
        {"cvv": "101"},
        {"expiry": "05/26"},
        {"expiry": None},
        {"expiry": "13/30"},
        {"expiry": "soon"},
    ):
        with pytest.raises(RequestRefused) as refused:
            judge(**wrong)
        assert refused.value.code == "test_card_invalid"
    for number_of_another in ("4111111111111111", "1", "0" * 15, 0.5):
        with pytest.raises(RequestRefused) as refused:
            judge(card_number=number_of_another)
        assert refused.value.code == "card_number_refused"


def test_b4_the_first_of_two_parameters_wins() -> None:
    query = Query("a=1&a=2;b=3&c&d=&=x&e=%2B+%20&&f=%zz&%67=7")
    assert query.get("a") == "1"
    assert query.repeated == ["a"]
    assert query.get("b") is None
    assert query.get("c") == query.get("d") == ""
    assert query.get("e") == "+  "
    assert query.get("f") == "%zz"
    assert query.get("g") == "7"


@pytest.mark.parametrize("extra", [0, 1])
def test_b4_parameters_past_the_limit_are_not_looked_at(extra: int) -> None:
    count = limits.QUERY_PARAMETERS_MAX + extra
    query = Query("&".join(f"p{index}={index}" for index in range(count)))
    assert query.overflow == bool(extra)
    assert len(query.items()) == limits.QUERY_PARAMETERS_MAX
    assert Query("&".join(["a=1"] * 10_000)).overflow


def test_b4_the_target_is_split_at_its_first_mark() -> None:
    assert split_target("/c/a?b?c=1") == ("/c/a", "b?c=1")
    assert split_target("/c/a#f?b") == ("/c/a", "")
    assert split_target("/c/a?b=1#f") == ("/c/a", "b=1")


def test_b3_a_cut_never_splits_a_character() -> None:
    assert cut("é" * 200, 255) == "é" * 127
    assert cut("a" * 256, 255) == "a" * 255
    assert cut("\udcff", 255) == "?"
