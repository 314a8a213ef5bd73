"""The redirect: what a visitor gets, and what is recorded. Rows B1-B4, B16-B18."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from edge_tools import BROWSER, DESTINATION, IDENTITY_KEY, Running, serving
from headwater import _core, ids, limits
from headwater.model.records import Flag

CLICK = re.compile(r"clk_[0-9a-hjkmnp-tv-z]{26}")


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("edge")
    with serving(folder, trusted_proxies=("127.0.0.1/32",), accept_deadline_ms=60) as running:
        yield running


@pytest.fixture(autouse=True)
def _ordinary(edge: Running) -> Iterator[None]:
    edge.take()
    yield
    edge.writer.outcome, edge.writer.full = True, False


def test_a_click_is_redirected_and_recorded(edge: Running) -> None:
    reply = edge.call("GET", "/c/spring_1?sub1=x%2Fy&shared_id=s&utm_source=a+b&junk=1")
    assert reply.status == 302
    assert reply.body == b""
    location = reply.headers["Location"]
    click = CLICK.search(location)
    assert click
    assert location == f"https://shop.example/landing?a=b%2Fc+d&click_id={click[0]}#frag?x"
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["X-Robots-Tag"] == "noindex"
    assert reply.headers["Server"] == "headwater"
    (partition, _raw) = edge.writer.records[0]
    assert partition == 2
    record = edge.one()
    assert ids.event_text("clk", record.event_id) == click[0]
    assert (record.kind, record.brand, record.trust, record.source) == (1, 1, 2, 1)
    program, partner, link, flags, _identifiers, params, client = record.body
    assert (program, partner, link, flags) == (1, 7, 1, Flag.NEW_VISITOR)
    assert params == {"sub1": "x/y", "shared_id": "s", "utm_source": "a b"}
    assert client[:3] == ["127.0.0.0/24", BROWSER, None]


@pytest.mark.parametrize("code", ["SPRING_1", "Spring_1", "sPrInG_1"])
def test_codes_match_without_case(edge: Running, code: str) -> None:
    assert edge.call("GET", f"/c/{code}").status == 302


@pytest.mark.parametrize(
    "path",
    [
        "/c/",
        "/c/.",
        "/c/..",
        "/c/../c/spring_1",
        "/c//spring_1",
        "/c/spring_1/",
        "/c/spring_1.",
        "/c/spring_1%00",
        "/c/spring%5F1",
        "/c/spring_1%2f",
        "/c/%2e%2e",
        "/c/spring_1;x=1",
        "/c/" + "a" * 65,
        "/c/" + "a" * 4000,
        "/c/spring_١",
        "/c/ѕpring_1",
        "/c/unknown",
        "//c/spring_1",
        "/C/spring_1",
        "/spring_1",
        "/c",
        "/",
    ],
)
def test_b1_a_code_that_is_none_gets_one_constant_page(edge: Running, path: str) -> None:
    quoted = path.encode("utf-8").decode("latin-1") if not path.isascii() else path
    answer = edge.raw(
        f"GET {quoted} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode("latin-1")
    )
    status = int(answer[9:12])
    assert status == (404 if path.isascii() else 400)
    assert b"spring" not in answer.partition(b"\r\n\r\n")[2]
    assert not edge.take()


def test_the_longest_code_is_taken(edge: Running) -> None:
    assert limits.LINK_CODE_CHARACTERS_MAX == 64
    edge.edge.table.apply(
        "link", 50, {"program": 1, "partner": 7, "code": "A" * 64, "url": "https://a.example/"}
    )
    assert edge.call("GET", "/c/" + "a" * 64).status == 302


@pytest.mark.parametrize(
    ("code", "status"),
    [("gone", 404), ("late", 410), ("eight", 404), ("nine", 404), ("paused", 404)],
)
def test_a_link_that_leads_nowhere_now_has_a_page(edge: Running, code: str, status: int) -> None:
    reply = edge.call("GET", f"/c/{code}")
    assert reply.status == status
    assert reply.headers.get_content_type() == "text/html"
    assert "Set-Cookie" not in reply.headers
    assert not edge.take()


def test_an_unreadable_link_is_left_out_and_the_others_stay(edge: Running) -> None:
    for url in ("javascript:alert(1)", "https://a.example/\r\nX: y", "//evil", "https://a/é", 5):
        edge.edge.table.apply("link", 51, {"program": 1, "partner": 7, "code": "bad", "url": url})
        assert edge.call("GET", "/c/bad").status == 404
    assert edge.call("GET", "/c/spring_1").status == 302


def test_a_changed_code_answers_under_its_new_name_alone(edge: Running) -> None:
    table = edge.edge.table
    value = {"program": 1, "partner": 7, "code": "first", "url": "https://a.example/"}
    table.apply("link", 52, value)
    table.apply("link", 52, {**value, "code": "second"})
    assert edge.call("GET", "/c/first").status == 404
    assert edge.call("GET", "/c/second").status == 302
    table.apply("link", 52, None)
    assert edge.call("GET", "/c/second").status == 404


@pytest.mark.parametrize(
    ("host", "path", "status"),
    [
        ("go.shop.example", "/own", 302),
        ("GO.shop.example:8443", "/OWN", 302),
        ("go.shop.example.", "/own", 302),
        ("go.shop.example", "/c/own", 302),
        ("go.shop.example", "/spring_1", 302),
        ("go.shop.example", "/foreign", 404),
        ("go.shop.example", "/own/x", 404),
        ("other.example", "/own", 404),
        ("other.example", "/c/own", 404),
        ("other.example", "/c/foreign", 302),
        ("go.shop.example", "/robots.txt", 200),
    ],
)
def test_a_tracking_domain_serves_its_brands_links(
    edge: Running, host: str, path: str, status: int
) -> None:
    assert edge.call("GET", path, headers={"Host": host}).status == status


def test_the_destination_leaves_byte_for_byte(edge: Running) -> None:
    for index, url in enumerate(
        (
            "https://shop.example/landing?a=b%2Fc+d",
            'https://SHOP.example:8443/a//b/../c;d=%7e?x=[1]&y={z}|^`"<>',
            "https://shop.example/?a=%41%2b%E2%82%AC&b=1+2%202",
            "http://shop.example",
        )
    ):
        code = f"exact{index}"
        value = {"program": 1, "partner": 7, "code": code, "url": url}
        edge.edge.table.apply("link", 60 + index, value)
        location = edge.call("GET", f"/c/{code}").headers["Location"]
        joint = "&" if "?" in url else "?"
        assert re.fullmatch(re.escape(url + joint) + r"click_id=clk_.{26}", location)


def test_head_redirects_without_counting(edge: Running) -> None:
    reply = edge.call("HEAD", "/c/spring_1")
    assert reply.status == 302
    assert reply.headers["Location"] == DESTINATION
    assert "Set-Cookie" not in reply.headers
    assert not edge.take()


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Purpose": "prefetch"},
        {"Sec-Purpose": "prefetch;prerender"},
        {"Purpose": "Prefetch"},
        {"X-Purpose": "preview"},
        {"X-Moz": "prefetch"},
        {"Sec-Purpose": "odd", "Purpose": "prerender"},
    ],
)
def test_a_prefetch_is_recorded_as_one(edge: Running, headers: dict[str, str]) -> None:
    """It may become a visit without another request, so it needs its click id and cookie now."""
    reply = edge.call("GET", "/c/spring_1", headers=headers)
    assert reply.status == 302
    assert reply.headers["Cache-Control"] == "no-store"
    record = edge.one()
    assert ids.event_text("clk", record.event_id) in reply.headers["Location"]
    assert "Set-Cookie" in reply.headers
    assert record.body.flags == Flag.PREFETCH | Flag.NEW_VISITOR


@pytest.mark.parametrize("headers", [{"Sec-Purpose": "odd"}, {"Purpose": ""}, {"X-Moz": "later"}])
def test_another_purpose_makes_no_prefetch(edge: Running, headers: dict[str, str]) -> None:
    edge.call("GET", "/c/spring_1", headers=headers)
    assert not edge.one().body.flags & Flag.PREFETCH


@pytest.mark.parametrize("name", ["gclid", "gbraid", "wbraid", "msclkid", "dclid", "yclid"])
def test_an_advertisers_click_id_is_flagged_and_not_kept(edge: Running, name: str) -> None:
    edge.call("GET", f"/c/spring_1?{name}=of-the-visitor")
    body = edge.one().body
    assert body.flags == Flag.AD_CLICK_ID | Flag.NEW_VISITOR
    assert "of-the-visitor" not in repr(body)


def test_a_click_of_a_honeypot_says_so(edge: Running) -> None:
    value = {"program": 1, "partner": 7, "code": "trap", "url": "https://a.example/"}
    for honeypot, flags in ((True, Flag.HONEYPOT), (False, 0), (None, 0)):
        edge.edge.table.apply("link", 55, {**value, "honeypot": honeypot})
        edge.call("GET", "/c/trap?consent=denied")
        assert edge.one().body.flags == flags | Flag.CONSENT_DENIED


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_refused(edge: Running, method: str) -> None:
    reply = edge.call(method, "/c/spring_1")
    assert reply.status == 405
    assert reply.headers["Allow"] == "GET, HEAD"


def test_a_visitor_is_given_a_cookie_and_recognised_by_it(edge: Running) -> None:
    first = edge.call("GET", "/c/spring_1")
    cookie = re.match(
        r"hw_visitor=((.{26})\.[0-9]{5}); Max-Age=2592000; Path=/", first.headers["Set-Cookie"]
    )
    assert cookie
    digest = _core.identifier_digest(IDENTITY_KEY, 1, "visitor_id", cookie[2])
    assert edge.one().body[4] == [[8, digest]]
    edge.call("GET", "/c/spring_1", headers={"Cookie": f"a=b; hw_visitor={cookie[1]}"})
    body = edge.one().body
    assert body[4] == [[8, digest]]
    assert not body[3] & Flag.NEW_VISITOR


def test_b18_a_tampered_cookie_gets_a_new_id(edge: Running) -> None:
    good = ids.visitor_id()
    broken = (f"{good}.", f"{good}.x", f"{good}.1234567", f".{good}", f"{good}.1.1")
    one = ("0" * 26, "7" * 26)
    for value in ("x" * 26, "8" + "0" * 25, '"quoted"', "a" * 4096, "", *broken, *one):
        reply = edge.call("GET", "/c/spring_1", headers={"Cookie": f"hw_visitor={value}"})
        assert reply.status == 302
        assert edge.one().body[3] & Flag.NEW_VISITOR
        assert (value[:26] or "=;") not in reply.headers["Set-Cookie"]


def test_the_cookie_is_secure_behind_a_tls_proxy(edge: Running) -> None:
    def cookie(host: str, proto: str) -> str:
        headers = {"Host": host, "X-Forwarded-Proto": proto}
        return str(edge.call("GET", "/c/spring_1", headers=headers).headers["Set-Cookie"])

    assert cookie("go.shop.example", "https").endswith("; Secure; SameSite=Lax")
    assert cookie("track.net.example", "https").endswith("; Secure; SameSite=None")
    assert cookie("go.shop.example", "http").endswith("HttpOnly; SameSite=Lax")


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/c/spring_1?consent=denied", {}),
        ("/c/spring_1", {"Sec-GPC": "1"}),
        ("/c/spring_1?consent=granted", {"Sec-GPC": "1"}),
        ("/c/quiet", {}),
        ("/c/quiet?consent=perhaps", {}),
    ],
)
def test_without_consent_nothing_is_kept_of_the_visitor(
    edge: Running, path: str, headers: dict[str, str]
) -> None:
    cookie = {"Cookie": f"hw_visitor={ids.visitor_id()}", "Referer": "https://a.example/secret"}
    joint = "&" if "?" in path else "?"
    path = f"{path}{joint}external_click_id=ext-1"
    reply = edge.call("GET", path, headers={**headers, **cookie})
    assert reply.status == 302
    assert CLICK.search(reply.headers["Location"])
    assert "Set-Cookie" not in reply.headers
    body = edge.one().body
    assert body[3] & Flag.CONSENT_DENIED
    assert body[4] == []
    assert body[6][:3] == [None, "desktop", None]


def test_consent_in_the_link_overrides_the_programs_default(edge: Running) -> None:
    reply = edge.call("GET", "/c/quiet?consent=granted")
    assert "Set-Cookie" in reply.headers
    assert edge.one().body[3] == Flag.NEW_VISITOR


def test_a_deep_link_replaces_the_destination(edge: Running) -> None:
    reply = edge.call("GET", "/c/spring_1?u=https%3A%2F%2Fshop.example%2Fs%3Fx%3D%252F%23top")
    location = reply.headers["Location"]
    assert re.fullmatch(r"https://shop\.example/s\?x=%2F&click_id=clk_.{26}#top", location)
    assert edge.one().body[3] == Flag.NEW_VISITOR


@pytest.mark.parametrize(
    "query",
    [
        "u=https%3A%2F%2Fevil.example%2F",
        "u=%2F%2Fevil.example",
        "u=%0d%0aX:%20y",
        "u=https%3A%2F%2Fshop.example%2F%0d%0aX:y",
        "u=https%3A%2F%2Fshop.example%2F&u=https%3A%2F%2Fshop.example%2F",
        "u=",
        "u",
        "u=%ff%fe",
        "u=https%253A%252F%252Fshop.example",
        "u=https://shop.example@evil.example",
    ],
)
def test_b2_a_refused_deep_link_leads_to_the_links_own_destination(
    edge: Running, query: str
) -> None:
    reply = edge.call("GET", f"/c/bare?{query}")
    assert re.fullmatch(r"https://shop\.example/\?click_id=clk_.{26}", reply.headers["Location"])
    assert edge.one().body[3] == Flag.DEEP_LINK_REFUSED | Flag.NEW_VISITOR


@pytest.mark.parametrize(
    ("query", "added"),
    [
        ("color=red", "color=red&"),
        ("color=a%20b%26c", "color=a%20b%26c&"),
        ("color=a+b", "color=a%20b&"),
        ("color=%0d%0aX:y", "color=%0D%0AX%3Ay&"),
        ("color=%ff<script>", "color=%FF%3Cscript%3E&"),
        ("color=1&color=2", "color=1&"),
        ("color", "color=&"),
        ("colour=red", ""),
    ],
)
def test_b3_parameters_are_handed_on_only_by_name_and_encoded(
    edge: Running, query: str, added: str
) -> None:
    location = edge.call("GET", f"/c/bare?{query}").headers["Location"]
    assert re.fullmatch(
        re.escape(f"https://shop.example/?{added}") + "click_id=clk_.{26}", location
    )


def test_a_parameter_of_the_destination_is_not_overridden(edge: Running) -> None:
    assert "a=evil" not in edge.call("GET", "/c/spring_1?a=evil").headers["Location"]


def test_b3_long_parameters_are_cut_and_flagged(edge: Running) -> None:
    edge.call("GET", "/c/spring_1?sub1=" + "a" * 255 + "&sub2=" + "b" * 256 + "&sub3=%F0%9F%98%80")
    params = edge.one().body[5]
    assert params["sub1"] == "a" * 255
    assert params["sub2"] == "b" * 255
    assert params["sub3"] == "\U0001f600"
    assert params["truncated"] == "sub2"


@pytest.mark.parametrize(
    "value", ["%22%27%3Cscript%3E", "%0d%0a", "%ff%fe", "%00", "%ED%A0%80", "%", "%u0041", "+"]
)
def test_b3_any_sub_id_is_recorded_and_none_breaks_the_redirect(edge: Running, value: str) -> None:
    assert edge.call("GET", f"/c/spring_1?sub1={value}").status == 302
    assert "sub1" in edge.one().body[5]


def test_a_card_number_in_a_sub_id_is_not_recorded(edge: Running) -> None:
    edge.call("GET", "/c/spring_1?sub1=4111111111111111&sub2=x")
    assert edge.one().body[5] == {"sub2": "x"}


def test_b4_ten_thousand_parameters_are_ignored_past_the_limit(edge: Running) -> None:
    query = "sub1=a&sub1=b&" + "&".join(f"p{index}" for index in range(1000)) + "&sub2=c"
    assert edge.call("GET", f"/c/spring_1?{query}").status == 302
    assert edge.one().body[5] == {"sub1": "a"}


def test_flags_of_the_query_are_recorded(edge: Running) -> None:
    edge.call("GET", "/c/spring_1?hw_test=1&qr=1&external_click_id=Ext-7")
    body = edge.one().body
    assert body[3] == Flag.TEST | Flag.QR | Flag.NEW_VISITOR
    digest = _core.identifier_digest(IDENTITY_KEY, 1, "external_click_id", "Ext-7")
    assert [7, digest] in body[4]


def test_b16_the_address_comes_through_trusted_proxies(edge: Running) -> None:
    headers = {"X-Forwarded-For": "6.6.6.6, 198.51.100.77"}
    edge.call("GET", "/c/spring_1", headers=headers)
    assert edge.one().body[6][0] == "198.51.100.0/24"


@pytest.mark.parametrize(
    "value", [b"\x1b[31m", b"\xff\xfe", b"a" * 8000, "\u202eé".encode(), b'"<script>']
)
def test_b17_no_user_agent_breaks_a_redirect(edge: Running, value: bytes) -> None:
    answer = edge.raw(
        b"GET /c/spring_1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUser-Agent: "
        + value
        + b"\r\nReferer: "
        + value
        + b"\r\n\r\n"
    )
    assert answer[9:12] in (b"302", b"400")
    assert value not in answer
    for record in edge.take():
        assert len(record.body[6][1].encode()) <= limits.USER_AGENT_BYTES_MAX


@pytest.mark.parametrize(
    "trouble", ["full", "late", RuntimeError("broken"), OSError("no space left")]
)
def test_the_visitor_arrives_whatever_the_journal_does(
    edge: Running, trouble: str | Exception
) -> None:
    edge.writer.full = trouble == "full"
    edge.writer.outcome = trouble if isinstance(trouble, Exception) else None
    reply = edge.call("GET", "/c/spring_1")
    assert reply.status == 302
    assert reply.headers["Location"].startswith("https://shop.example/landing")


def test_keep_alive_is_kept_and_http_1_0_closes(edge: Running) -> None:
    request = b"GET /c/spring_1 HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /c/spring_1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = edge.raw(request * 20 + last)
    assert answer.count(b"HTTP/1.1 302 Found\r\n") == 21
    assert answer.count(b"Connection: close\r\n") == 1
    old = edge.raw(b"GET /c/spring_1 HTTP/1.0\r\n\r\n")
    assert old.startswith(b"HTTP/1.0 302 Found\r\n")
