"""Whatever a query holds, a redirect leads to the program's own hosts and adds no header."""

from __future__ import annotations

import re
import urllib.parse
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from yarl import URL

from headwater.edge import deeplink, redirect, targets
from headwater.edge.links import LinkTable
from headwater.edge.query import Query
from headwater.edge.responses import Redirect
from headwater.edge.targets import Targets
from headwater.model.destination import TOKENS, UTM_NAMES, parts, with_utm
from headwater.model.signing import COVERED, message

FUZZ = settings(max_examples=1500, deadline=None, derandomize=True, database=None)
QUICK = settings(max_examples=200, deadline=None, derandomize=True, database=None)

HOSTS = {"shop.example", "m.shop.example"}
SUFFIX = ".wild.example"
# Pieces of which attacks on redirects are made; a fuzzer puts them together.
PIECES = st.sampled_from(
    [
        "https", "http", "javascript", "data", ":", "/", "//", "\\", "@", "#", "?", "&", "=", ".",
        "shop.example", "evil.example", "x.wild.example", ".wild.example", "wild.example", "m.",
        "[::1]", "127.0.0.1", "%2f", "%2F%2f", "%5c", "%00", "%0d%0a", "%252f", "\t", "\n", "\r",
        " ", "\x00", "\u3002", "\u2044", "\u200b", "\u0455", "xn--", "xn--80ak6aa92e.example",
        ":443", ":", ";", ",", "user:pass@", "..", "./", "{sub1}", "{click_id}", "é", "\ud83d\ude00"
        .encode("utf-16", "surrogatepass").decode("utf-16"), "Set-Cookie: a=b", "Location:",
    ]
)  # fmt: skip
attack = st.lists(PIECES, max_size=12).map("".join)
wanted = st.one_of(attack, attack.map("https://shop.example".__add__), attack.map("https:".__add__))
texts = st.text(max_size=40)


def table_of(**program: Any) -> LinkTable:
    table = LinkTable()
    table.apply(
        "program",
        1,
        {
            "brand": 1,
            "code": "check",
            "destination_url": "https://shop.example/",
            "currency": "EUR",
            "deep_link_hosts": [*HOSTS, f"*{SUFFIX}"],
            **program,
        },
    )
    url = "https://shop.example/{sub1}?a={sub2}#{sub1}"
    link = {"program": 1, "partner": 7, "code": "x", "url": url}
    table.apply("link", 1, {**link, "utm": {"utm_term": "{sub1}{source}"}})
    return table


TABLES = (
    table_of(),
    table_of(utm={"utm_source": "{sub2}"}, utm_mode="override", forward_params=["u2", "sub1"]),
)


@FUZZ
@given(wanted, attack, attack, st.sampled_from(TABLES))
@example("https://shop.example\\@evil.example/", "", "", TABLES[0])
@example("https://shop.example/", "@evil.example", "//evil.example", TABLES[1])
def test_b2_no_location_leaves_the_allowed_hosts(
    url: str, first: str, second: str, table: LinkTable
) -> None:
    """Method: whatever the query, three readings of the Location name a host of the program."""
    link, program = table.links[1], table.programs[1]
    pairs = {"u": url, "sub1": first, "sub2": second, "source": first, "u2": second}
    query = Query(urllib.parse.urlencode(pairs))
    asked = query.get("u") or ""
    target = Targets().of(link, program).own
    if deeplink.allowed(asked, hosts=program.hosts, suffixes=program.suffixes, http=program.http):
        target = targets.deep(asked, link, program)
    visit = redirect._Visit(link, program, query, 0, target, False, False)
    location = redirect._location(visit, "clk_1")
    Redirect(location)
    found = re.match(r"https://([a-z0-9.-]+)(?:[/?#]|\Z)", location)
    assert found
    named = found[1]
    assert named in HOSTS or named.endswith(SUFFIX)
    assert urllib.parse.urlsplit(location).netloc == named
    assert URL(location, encoded=True).raw_authority == named
    assert not re.search(r"[\x00-\x20\x7f-\uffff\\]", location)


@QUICK
@given(
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=80),
    st.dictionaries(st.sampled_from(UTM_NAMES), texts),
    st.booleans(),
)
def test_p16_every_utm_parameter_stands_once_and_nothing_else_changes(
    rest: str, utm: dict[str, str], override: bool
) -> None:
    url = f"https://shop.example/{rest}"
    once = with_utm(url, utm, override=override)
    before, after = url.partition("#"), once.partition("#")
    assert after[2] == before[2]
    given_names = {name for name, value in utm.items() if value}
    pairs = urllib.parse.parse_qsl(after[0].partition("?")[2], keep_blank_values=True)
    own = urllib.parse.parse_qsl(before[0].partition("?")[2], keep_blank_values=True)
    assert {name for name, _ in pairs} >= given_names
    assert [pair for pair in pairs if pair[0] not in given_names] == [
        pair for pair in own if pair[0] not in given_names
    ]
    if not override:
        assert once.startswith(before[0])
    assert with_utm(once, utm) == once


@QUICK
@given(st.dictionaries(st.sampled_from(sorted(TOKENS)), texts), st.lists(PIECES, max_size=8))
def test_b3_a_filled_token_is_one_percent_encoded_value(
    values: dict[str, str], pieces: list[str]
) -> None:
    text = "&".join([*(f"{name}={{{name}}}" for name in values), "own=" + "".join(pieces)])
    head = parts(f"https://shop.example/?{text}", {}).head
    filled = targets.filled(targets._pieces(head), {**dict.fromkeys(TOKENS, ""), **values})
    sent = filled.partition("?")[2].split("&")[: len(values)]
    for (name, value), pair in zip(values.items(), sent, strict=True):
        assert re.fullmatch(r"[\w.~%=-]*", pair, re.ASCII)
        assert pair == f"{name}={urllib.parse.quote(value, safe='')}"


@QUICK
@given(
    st.dictionaries(st.sampled_from(COVERED), texts),
    st.dictionaries(st.sampled_from(COVERED), texts),
    texts,
    texts,
)
def test_p9_no_two_links_have_one_message(
    first: dict[str, str], second: dict[str, str], one: str, other: str
) -> None:
    is_same = (first, one) == (second, other)
    assert (message(one, "prt_1", first) == message(other, "prt_1", second)) == is_same
