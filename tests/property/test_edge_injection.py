"""Whatever a request holds, no header, no page and no log line is made of it, and no redirect
leaves the program's hosts. Over real sockets, at a whole edge. Rows B2, B3, B17 and B24.
"""

from __future__ import annotations

import io
import json
import logging
import re
import socket
import urllib.parse
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from yarl import URL

from edge_tools import KEY, Running, drain, head_of, link, program, serving
from headwater.model.destination import SUB_IDS, UTM_NAMES
from headwater.ops.logs import JsonFormatter

FUZZ = settings(max_examples=500, deadline=None, derandomize=True, database=None)
# In every value; found again in an answer or a log line, it was echoed.
MARK = "zqmark"
HOSTS = {"shop.example", "m.shop.example"}
SUFFIX = ".wild.example"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) Mobile/15E148 Safari/604.1"
# What an edge ever sends; any other header was injected.
HEADERS = {
    "access-control-allow-credentials", "access-control-allow-origin", "allow",
    "cache-control", "connection", "content-length", "content-security-policy",
    "content-type", "cross-origin-resource-policy", "date", "expires", "location", "pragma",
    "referrer-policy", "retry-after", "server", "set-cookie", "timing-allow-origin", "vary",
    "www-authenticate", "x-content-type-options", "x-frame-options", "x-robots-tag",
    "etag", "last-modified", "preference-applied",
}  # fmt: skip
PIECES = st.sampled_from(
    [
        MARK, "\r\n", "\n", "\r", "\r\nX-Injected: 1", "\r\n\r\n<script>", "\nSet-Cookie: a=b",
        "<script>", "</code>", "<img src=x onerror=", '"', "'", ">", "&", "=", "{sub1}",
        "{click_id}", "\x00", "\x1b[31m", "\u2028", "\u0085", "\ufeff", "é", "\U0001f600", "%",
        "%0d%0a", "%00", "https", ":", "//", "/", "\\", "@", "#", "?", "evil.example",
        "shop.example", "javascript:", "data:text/html,", ".", "..", "x.wild.example", ":443",
        "%2f", "%5c", " ", "\t",
    ]
)  # fmt: skip
attack = st.lists(PIECES, max_size=8).map("".join)
address = st.one_of(attack, attack.map("https://shop.example".__add__), attack.map("//".__add__))
NAMES = (
    *SUB_IDS, *UTM_NAMES, "shared_id", "source", "external_click_id", "consent", "hw_test", "qr",
    "sig", "sig_expires", "color", "program", "event", "order_id", "token", "return", "status",
    "amount", "adv1", "OrderId",
)  # fmt: skip
queries = st.lists(st.tuples(st.sampled_from(NAMES), attack), max_size=5)
deep = st.lists(address, max_size=2)
encodings = st.sampled_from(["once", "twice", "raw"])
PATHS = ("/c/tokens", "/c/over", "/c/targets", "/c/signed", "/c/reported", "/c/tokens+", "/c/", "/")
hosts = st.sampled_from(["", "go.shop.example", "evil.example", "shop.example:80", "[::1]"])


class Served(NamedTuple):
    edge: Running
    lines: io.StringIO
    """What the edge logged, as it would be written."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(JsonFormatter("edge"))
    logging.getLogger().addHandler(handler)
    try:
        with serving(tmp_path_factory.mktemp("edge")) as running:
            configure(running)
            yield Served(running, lines)
    finally:
        logging.getLogger().removeHandler(handler)


def configure(edge: Running) -> None:
    """Links of every kind that answer with an address: tokens, utm, targets, expired, signed."""
    table = edge.edge.table
    common = {
        "deep_link_hosts": [*HOSTS, f"*{SUFFIX}"],
        "forward_params": ["color", "sub2"],
        "utm": {"utm_source": "{sub3}", "utm_term": "static"},
        "alias_presets": ["impact", "everflow"],
    }
    table.apply("program", 1, program(**common))
    salts = {"link_salts": ["00" * 16]}
    signed = {**common, **salts}
    table.apply("program", 7, program(code="signed", link_signing="require", **signed))
    table.apply("program", 8, program(code="reported", link_signing="report", **signed))
    for number in (7, 8):
        table.apply("enrolment", 90 + number, {"program": number, "partner": 7, "status": "active"})
    url = "https://shop.example/p/{sub1}?a={sub2}&c={click_id}&s={source}#{sub1}"
    targets = [
        {"devices": ["ios"], "destination_url": "https://m.shop.example/{sub1}?x={sub2}"},
        {"devices": ["desktop"], "destination_url": "https://x.wild.example/?x={utm_term}"},
    ]
    utm = {"utm_campaign": "{sub1}{source}"}
    over = {"expires_ms": 1, "expired_url": "https://shop.example/over?a=b"}
    for number, changes in enumerate(
        (
            {"code": "tokens", "url": url, "utm": utm},
            {"code": "over", **over},
            {"code": "targets", "url": url, "targets": targets},
            {"code": "signed", "url": url, "program": 7},
            {"code": "reported", "url": url, "program": 8},
            {"code": "tokens", "url": url, "domain": "go.shop.example"},
        ),
        100,
    ):
        table.apply("link", number, link(**changes))


def encoded(text: str, way: str) -> str:
    if way == "raw":
        # A request line ends at a blank or a break: what else there is goes as it is.
        return re.sub(r"[\x00-\x20\x7f#&+]", lambda found: urllib.parse.quote(found[0]), text)
    quoted = urllib.parse.quote(text, safe="")
    return urllib.parse.quote(quoted, safe="") if way == "twice" else quoted


def ask(edge: Running, request: bytes) -> tuple[int, dict[str, str], bytes]:
    with socket.create_connection(("127.0.0.1", edge.port), timeout=5) as sock:
        sock.sendall(request)
        answer = drain(sock)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert re.match(rb"HTTP/1\.[01] \d{3} [\x20-\x7e]*\r\n", head), "one well-formed answer"
    names = [line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:]]
    assert len(names) == len(set(names)), "no header comes twice"
    status, headers = head_of(answer)
    assert headers.keys() <= HEADERS
    assert int(headers.get("content-length", "0")) == len(body), "nothing behind the body"
    return status, headers, body


def judge(served: Served, answer: tuple[int, dict[str, str], bytes], *, is_preview: bool) -> None:
    status, headers, body = answer
    assert status < 500
    if "location" in headers:
        judge_location(headers["location"])
    for name, value in headers.items():
        if name != "location":
            assert MARK not in value
    text = body.decode("latin-1")
    assert "<script" not in text
    assert "<img" not in text
    if not is_preview:
        # A preview shows where a link leads, escaped; nothing else repeats what was sent.
        assert MARK not in text
    served.edge.take()


def judge_location(location: str) -> None:
    found = re.match(r"https://([a-z0-9.-]+)(?:[/?#]|\Z)", location)
    assert found
    named = found[1]
    assert named in HOSTS or named.endswith(SUFFIX)
    assert urllib.parse.urlsplit(location).netloc == named
    assert URL(location, encoded=True).raw_authority == named
    assert not re.search(r"[\x00-\x20\x7f-\uffff\\<>\"]", location)


@FUZZ
@given(
    path=st.sampled_from(PATHS),
    host=hosts,
    query=queries,
    urls=deep,
    way=encodings,
    agent=st.sampled_from([IPHONE, "Mozilla/5.0 (X11; Linux x86_64)"]),
)
@example("/c/tokens", "", [("sub1", "//evil.example/\r\nX-Injected: 1")], [], "once", IPHONE)
@example("/c/over", "", [("sub1", "@evil.example")], ["https://evil.example"], "raw", IPHONE)
@example("/c/signed", "", [], ["https://shop.example", "//evil.example"], "once", IPHONE)
def test_b2_b3_no_redirect_leaves_the_hosts_and_none_is_split(
    served: Served,
    path: str,
    host: str,
    query: list[tuple[str, str]],
    urls: list[str],
    way: str,
    agent: str,
) -> None:
    pairs = [*query, *(("u", url) for url in urls)]
    target = path + "?" + "&".join(f"{name}={encoded(value, way)}" for name, value in pairs)
    if host == "go.shop.example":
        target = target.removeprefix("/c")
    lines = [f"GET {target} HTTP/1.1", f"Host: {host or 'track.example'}", f"User-Agent: {agent}"]
    request = "\r\n".join([*lines, "Connection: close", "", ""]).encode("utf-8")
    answer = ask(served.edge, request)
    judge(served, answer, is_preview="+" in path)


def test_every_link_of_these_tests_does_redirect(served: Served) -> None:
    """Else the fuzzer would look at nothing."""
    for path in PATHS[:5]:
        reply = served.edge.call("GET", f"{path}?sub1=a", headers={"User-Agent": IPHONE})
        assert reply.status == 302, path
    assert served.edge.call("GET", "/tokens", headers={"Host": "go.shop.example"}).status == 302
    served.edge.take()


@FUZZ
@given(
    route=st.sampled_from(["/px.gif", "/postback", "/v1/conversions", "/v1/conversions/", "/x/"]),
    query=queries,
    way=encodings,
    has_key=st.booleans(),
)
def test_b3_b24_no_answer_repeats_a_parameter(
    served: Served, route: str, query: list[tuple[str, str]], way: str, has_key: bool
) -> None:
    """But for `return` of a sender with a key, which cannot begin a page."""
    pairs = [(name, value) for name, value in query if name not in ("token", "return")]
    if has_key:
        pairs += [("token", KEY), ("program", "check"), ("event", "lead"), ("customer_id", "c")]
    target = route + "?" + "&".join(f"{name}={encoded(value, way)}" for name, value in pairs)
    lines = [f"GET {target} HTTP/1.1", "Host: t.example", f"Authorization: Bearer {KEY}"]
    request = "\r\n".join([*lines, "Connection: close", "", ""]).encode("utf-8")
    judge(served, ask(served.edge, request), is_preview=False)


@FUZZ
@given(values=st.lists(attack, min_size=6, max_size=6), route=st.sampled_from((*PATHS, "/px.gif")))
def test_b17_no_header_of_a_request_comes_back(
    served: Served, values: list[str], route: str
) -> None:
    names = ("User-Agent", "Referer", "Cookie", "Origin", "X-Forwarded-For", "Accept-Language")
    lines = [f"GET {route}?program=check&event=lead HTTP/1.1", "Host: track.example"]
    for name, value in zip(names, values, strict=True):
        kept = re.sub(r"[\r\n\x00]", "", value)
        lines.append(f"{name}: {kept}")
    request = "\r\n".join([*lines, "Connection: close", "", ""]).encode("utf-8")
    status, headers, body = ask(served.edge, request)
    if status != 400:
        judge(served, (status, headers, body), is_preview="+" in route)


@FUZZ
@given(fields=queries, url=address, kind=st.sampled_from(["page", "click", "conversion", "x"]))
def test_b24_nothing_of_a_pages_event_comes_back(
    served: Served, fields: list[tuple[str, str]], url: str, kind: str
) -> None:
    event = {"type": kind, "program": "check", "partner": "prt_7", "event": "lead", "url": url}
    event |= {name: value for name, value in fields if name not in ("program", "event")}
    body = json.dumps({**event, "customer_id": f"{MARK}-1"}).encode()
    reply = served.edge.call(
        "POST",
        "/v1/collect",
        body,
        {"Content-Type": "text/plain", "Origin": "https://shop.example"},
    )
    assert reply.status < 500
    assert reply.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert MARK.encode() not in reply.body
    served.edge.take()


def test_b24_no_log_line_repeats_a_parameter_or_is_made_of_one(served: Served) -> None:
    """Of everything the tests above sent."""
    served.edge.call("GET", "/readyz")
    for line in served.lines.getvalue().splitlines():
        assert MARK not in line
        assert isinstance(json.loads(line), dict)


def test_a_log_line_stays_one_whatever_it_is_told() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "a\r\nb \x1b[31m\u2028{", (), None)
    record.fields = {"said": 'c\nd"}'}
    line = JsonFormatter("edge").format(record)
    assert line.isprintable()
    assert json.loads(line)["said"] == 'c\nd"}'
