"""URL checks and cursors: what is taken is safe to emit, and means the same when it comes back."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from yarl import URL

from headwater import limits
from headwater.console import bodies, checks, paging
from headwater.errors import RequestRefused
from headwater.model.destination import UTM_NAMES, with_utm

T = TypeVar("T")
_ODD = st.sampled_from(
    [*":/?#[]@!$&'()*+,;=%\\ \t\r\n.\"<>^`{|}\x00\x7f\x85\u2028ü٣。", "//", "..", "%0d"]
)
_TEXT = st.text(st.one_of(st.characters(codec="utf-8"), _ODD.filter(lambda t: len(t) == 1)))
_URLISH = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["http://", "https://", "HTTPS://", "https:", "//", "javascript:", ""]),
        st.lists(
            st.one_of(_ODD, st.sampled_from(["shop.example", "evil.example", "a", "1", "@"]))
        ).map("".join),
    ),
)


def outcome(act: Callable[[], T]) -> tuple[str | None, T | None]:
    """The code of a refusal, or what came of it."""
    try:
        return None, act()
    except RequestRefused as refused:
        return refused.code, None


@settings(max_examples=400)
@given(st.one_of(_URLISH, _TEXT))
@example("https://shop.example@evil.example/")
@example("https://shop.example\\@evil.example/")
@example("https://shop.example:80:90/")
@example("https://[::1]:8080/x")
@example("https://[::ffff:1.2.3.4%25eth0]/")
@example("https://xn--nxasmq6b/")
@example("https://shop.example:0/")
@example("https://shop.example:65536/")
def test_a_destination_that_is_taken_can_be_sent_as_it_is(url: str) -> None:
    try:
        taken = checks.destination(url)
    except ValueError:
        return
    assert taken == url
    assert re.fullmatch(r"[\x21-\x7e]+", url)
    assert "\\" not in url
    assert len(url) <= limits.URL_BYTES_MAX
    first, second = urlsplit(url), URL(url, encoded=True)
    assert first.scheme in ("http", "https")
    assert first.hostname
    assert first.username is None
    assert first.password is None
    assert second.raw_user is None
    assert checks.destination_host(url) == (second.raw_host or "").lower()


@pytest.mark.parametrize("length", [limits.URL_BYTES_MAX, limits.URL_BYTES_MAX + 1])
def test_the_longest_destination(length: int) -> None:
    url = "https://shop.example/".ljust(length, "a")
    if length <= limits.URL_BYTES_MAX:
        assert checks.destination(url) == url
    else:
        with pytest.raises(ValueError, match="longer"):
            checks.destination(url)


@pytest.mark.parametrize(
    ("url", "within"),
    [
        ("https://shop.example/x", True),
        ("http://SHOP.example:8443/x", True),
        ("https://a.deep.example/", True),
        ("https://deep.example/", False),
        ("https://adeep.example/", False),
        ("https://exact.example/", True),
        ("https://a.exact.example/", False),
        ("https://shop.example.evil.example/", False),
        ("https://evil.example/shop.example", False),
    ],
)
def test_a_links_destination_stays_within_the_program(url: str, within: bool) -> None:
    program = {
        "destination_url": "https://shop.example/",
        "deep_link_hosts": ["*.deep.example", "exact.example"],
    }
    if within:
        checks.within_program(checks.destination(url), program)
    else:
        with pytest.raises(ValueError, match="host"):
            checks.within_program(checks.destination(url), program)


@given(st.lists(st.one_of(_TEXT, st.from_regex(r"(\*\.)?[A-Za-z0-9.-]{1,20}", fullmatch=True))))
def test_deep_link_hosts_are_plain_lower_case_hosts(entries: list[str]) -> None:
    try:
        hosts = checks.deep_link_hosts(entries)
    except ValueError:
        return
    assert len(hosts) == len(set(hosts))
    for host in hosts:
        assert re.fullmatch(r"(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?", host)
    assert checks.deep_link_hosts(hosts) == hosts


@pytest.mark.parametrize("entry", ["*.com", "*.co.uk", "*.github.io"])
def test_deep_links_may_not_lead_to_whatever_anybody_registers(entry: str) -> None:
    with pytest.raises(ValueError, match="anybody"):
        checks.deep_link_hosts([entry])
    assert checks.deep_link_hosts([entry[2:], "*.shop.example"])


@pytest.mark.parametrize(
    ("entry", "origin"),
    [
        ("https://Shop.example", "https://shop.example"),
        ("https://shop.example/", "https://shop.example"),
        ("https://shop.example:443", "https://shop.example"),
        ("http://shop.example:443", "http://shop.example:443"),
        ("https://[::1]:443", "https://[::1]"),
        ("https://shop.example/x", None),
        ("https://shop.example?x", None),
        ("null", None),
        ("*", None),
    ],
)
def test_origins_are_as_browsers_send_them(entry: str, origin: str | None) -> None:
    if origin is None:
        with pytest.raises(ValueError, match=r"."):
            checks.allowed_origins([entry])
    else:
        assert checks.allowed_origins([entry]) == [origin]


@given(
    st.from_regex(
        r"https://shop\.example(/[a-z%0-9]{0,5})?(\?[a-z&=_%]{0,12})?(#[a-z?]{0,4})?",
        fullmatch=True,
    ),
    st.dictionaries(st.sampled_from(UTM_NAMES), st.text(min_size=1, max_size=10)),
)
def test_utm_keeps_every_byte_of_the_destination(url: str, utm: dict[str, str]) -> None:
    made = with_utm(url, utm)
    head, mark, fragment = url.partition("#")
    assert made.startswith(head)
    assert made.endswith(mark + fragment)
    assert made.isascii()
    assert with_utm(made, utm) == made


# ---- Cursors


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_a_cursor_of_a_number_comes_back(number: int) -> None:
    cursor = paging.encode(number)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", cursor)
    assert paging.decode(cursor, int) == number


@given(st.integers(min_value=0, max_value=2**63 - 1), st.binary(min_size=16, max_size=16))
def test_a_cursor_of_a_pair_comes_back(number: int, raw: bytes) -> None:
    assert paging.decode(paging.encode((number, raw)), tuple[int, bytes]) == (number, raw)


@given(st.one_of(_TEXT, st.from_regex(r"[A-Za-z0-9_-]{1,30}={0,2}", fullmatch=True)))
@example("")
@example("A")
@example("gA")
def test_any_other_cursor_is_refused_or_is_the_one_of_its_position(text: str) -> None:
    for kind in (int, bytes, tuple[int, bytes]):
        code, position = outcome(lambda kind=kind: paging.decode(text, kind))  # type: ignore[misc]
        assert code == "invalid_cursor" or paging.encode(position) == text


# ---- Bodies


@settings(max_examples=300)
@given(st.binary(max_size=200))
@example(b'{"a":"\\ud800"}')
@example(b"[" * 5000 + b"]" * 5000)
@example(b'{"a":1e400}')
@example(b'{"a":' + b"9" * 5000 + b"}")
def test_any_body_is_parsed_or_refused(raw: bytes) -> None:
    code, value = outcome(lambda: bodies.parse(raw))
    assert code in (None, "malformed_body", "duplicate_key")
    if code is None:
        assert isinstance(value, dict)
        str(value).encode("utf-8")


@given(_TEXT)
def test_any_query_is_parsed_or_refused(text: str) -> None:
    code, found = outcome(lambda: bodies.query(text))
    assert code in (None, "malformed_request", "too_many_parameters")
    assert found is None or len(found) <= limits.QUERY_PARAMETERS_MAX
