"""Where a link leads: utm parameters, tokens, deep links, devices and countries, expiry, previews,
and the cookie it leaves. Rows P3 to P9, P15 and P16 of the features, B2 and B3 of bad input.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from edge_tools import Running, link, program, serving
from headwater import ids, limits
from headwater.model.records import Flag

PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Mobile/15E148 Safari/604.1"
ANDROID = "Mozilla/5.0 (Linux; Android 15) Chrome/141.0 Mobile Safari/537.36"
DESKTOP = "Mozilla/5.0 (Windows NT 10.0) Chrome/141.0"
NOW_MS = 1_800_000_000_000
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("edge"), trusted_proxies=("127.0.0.1/32",)) as running:
        running.edge.now_ms = lambda: NOW_MS
        yield running


@pytest.fixture(autouse=True)
def _ordinary(edge: Running) -> Iterator[None]:
    edge.take()
    yield
    edge.edge.table.apply("program", 1, program())
    edge.edge.now_ms = lambda: NOW_MS


def put(edge: Running, **value: Any) -> None:
    """A link of the code `x`."""
    edge.edge.table.apply("link", 70, link(code="x", **value))


def location(edge: Running, query: str = "", **headers: str) -> str:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    reply = edge.call("GET", f"/c/x{query}", headers=named)
    assert reply.status == 302
    return str(reply.headers["Location"])


def bare(text: str) -> str:
    """A Location whose click id is written short."""
    return re.sub(r"clk_[0-9a-hjkmnp-tv-z]{26}", "CLICK", text)


# ---- Templates -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of_program", "of_link", "url", "expected"),
    [
        ({}, {"utm_source": "l"}, "https://shop.example/", "?utm_source=l&click_id=CLICK"),
        ({"utm_source": "p"}, {}, "https://shop.example/", "?utm_source=p&click_id=CLICK"),
        (
            {"utm_source": "p", "utm_medium": "p"},
            {"utm_source": "l"},
            "https://shop.example/",
            "?utm_source=l&utm_medium=p&click_id=CLICK",
        ),
        (
            {"utm_source": "p"},
            {"utm_source": "l"},
            "https://shop.example/?utm_source=own#top",
            "?utm_source=own&click_id=CLICK#top",
        ),
        (
            {"utm_campaign": "{program}_{partner_id}_{sub1}"},
            {"utm_content": "50% {sub1}"},
            "https://shop.example/",
            "?utm_campaign=check_prt_7_a%2Fb&utm_content=50%25%20a%2Fb&click_id=CLICK",
        ),
    ],
)
def test_p5_p16_who_names_a_utm_parameter_first_wins(
    edge: Running,
    of_program: dict[str, str],
    of_link: dict[str, str],
    url: str,
    expected: str,
) -> None:
    edge.edge.table.apply("program", 1, program(utm=of_program))
    put(edge, url=url, utm=of_link)
    assert bare(location(edge, "?sub1=a%2Fb")) == "https://shop.example/" + expected


def test_p16_in_override_mode_the_destinations_own_utm_give_way(edge: Running) -> None:
    edge.edge.table.apply("program", 1, program(utm={"utm_source": "p"}, utm_mode="override"))
    put(edge, url="https://shop.example/?utm%5Fsource=own&a=b%2Fc+d&utm_term=t")
    assert bare(location(edge)) == (
        "https://shop.example/?a=b%2Fc+d&utm_term=t&utm_source=p&click_id=CLICK"
    )
    put(edge, url="https://shop.example/?utm_source=own", utm={"utm_source": "l"})
    assert bare(location(edge)) == "https://shop.example/?utm_source=l&click_id=CLICK"


def test_p16_the_visitors_own_utm_are_recorded_and_handed_on_last(edge: Running) -> None:
    forward = ["utm_source", "utm_term"]
    edge.edge.table.apply("program", 1, program(utm={"utm_source": "p"}, forward_params=forward))
    put(edge, url="https://shop.example/")
    query = "?" + "&".join(f"{name}=v" for name in UTM)
    assert bare(location(edge, query)) == (
        "https://shop.example/?utm_source=p&utm_term=v&click_id=CLICK"
    )
    assert edge.one().body[5] == dict.fromkeys(UTM, "v")


UTM = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")


def test_p5_tokens_and_static_values_stand_in_a_destination(edge: Running) -> None:
    put(
        edge,
        url="https://shop.example/{program}/x?aff={partner_id}&l={link_id}&t={timestamp}"
        "&a={sub1}.{sub10}&s={source}&h={shared_id}&static=1#f={sub2}",
    )
    found = location(edge, "?sub1=a%26b&sub2=%C3%A9&sub10=ten&source=s%20t")
    assert bare(found) == (
        "https://shop.example/check/x?aff=prt_7&l=lnk_70&t=1800000000"
        "&a=a%26b.ten&s=s%20t&h=&static=1&click_id=CLICK#f=%C3%A9"
    )


def test_p4_a_destination_that_places_the_click_id_gets_it_once(edge: Running) -> None:
    put(edge, url="https://shop.example/?click_id={click_id}&a=1")
    assert bare(location(edge)) == "https://shop.example/?click_id=CLICK&a=1"
    put(edge, url="https://shop.example/?cid={click_id}")
    first, second = re.findall(r"clk_.{26}", location(edge))
    assert first == second
    assert edge.call("HEAD", "/c/x").headers["Location"] == "https://shop.example/?cid="


def test_p5_what_is_no_token_stays_byte_for_byte(edge: Running) -> None:
    put(edge, url="https://shop.example/{x}/{ }?q={sub1}{SUB1}%7Bsub1%7D")
    put(edge, url="https://shop.example/{x}?q={sub1}{SUB1}%7Bsub1%7D{}")
    assert bare(location(edge, "?sub1=1")) == (
        "https://shop.example/{x}?q=1{SUB1}%7Bsub1%7D{}&click_id=CLICK"
    )


@pytest.mark.parametrize(
    "value",
    ["%0d%0aSet-Cookie:a=b", "%22%3E%3Cscript%3E", "%ff%fe", "%F0%9F%98%80", "a%00b", "{sub2}"],
)
def test_b3_a_token_never_adds_more_than_a_value(edge: Running, value: str) -> None:
    put(edge, url="https://shop.example/{sub1}?q={sub1}#{sub1}")
    found = bare(location(edge, f"?sub1={value}&sub2=evil"))
    match = re.fullmatch(
        r"https://shop\.example/([\w.~%-]+)\?q=([\w.~%-]+)&click_id=CLICK#([\w.~%-]+)", found
    )
    assert match
    assert match[1] == match[2] == match[3]
    assert "evil" not in found


def test_a_card_number_reaches_no_destination(edge: Running) -> None:
    put(edge, url="https://shop.example/?a={sub1}")
    assert "4111" not in location(edge, "?sub1=4111111111111111")


def test_b3_a_location_too_long_leaves_without_what_the_visit_says(edge: Running) -> None:
    long = "%C3%A9" * 127
    path = f"https://shop.example/?a={long}&b={long}&c="
    room = limits.LOCATION_BYTES_MAX - len(f"{path}&click_id=clk_") - 26
    put(edge, url="https://shop.example/?a={sub1}&b={sub1}&c={sub2}" + "x" * (room - 3))
    assert len(location(edge, f"?sub1={long}&sub2=abc")) == limits.LOCATION_BYTES_MAX
    assert bare(location(edge, f"?sub1={long}&sub2=abcd")) == (
        "https://shop.example/?a=&b=&c=" + "x" * (room - 3) + "&click_id=CLICK"
    )


# ---- Deep links ----------------------------------------------------------------------------


def test_p6_a_deep_link_gets_the_utm_parameters_it_lacks(edge: Running) -> None:
    edge.edge.table.apply("program", 1, program(utm={"utm_source": "{sub1}", "utm_medium": "m"}))
    put(edge, url="https://shop.example/own")
    wanted = "https%3A%2F%2Fshop.example%2Fp%3Futm_medium%3Dhis%26q%3D%7Bsub1%7D%23%7Bsub1%7D"
    assert bare(location(edge, f"?sub1=s&u={wanted}")) == (
        "https://shop.example/p?utm_medium=his&q={sub1}&utm_source=s&click_id=CLICK#{sub1}"
    )


def test_p6_a_deep_link_goes_before_device_and_country(edge: Running) -> None:
    put(edge, targets=[{"devices": ["ios"], "destination_url": "https://shop.example/ios"}])
    wanted = "?u=https%3A%2F%2Fshop.example%2Fdeep"
    assert location(edge, wanted, User_Agent=PHONE).startswith("https://shop.example/deep?")
    refused = "?u=https%3A%2F%2Fevil.example%2Fdeep"
    assert location(edge, refused, User_Agent=PHONE).startswith("https://shop.example/ios?")
    flags = [each.body[3] & ~Flag.NEW_VISITOR for each in edge.take()]
    assert flags == [0, Flag.DEEP_LINK_REFUSED]


# ---- Devices, countries, expiry ------------------------------------------------------------


TARGETS = [
    {"devices": ["ios"], "countries": ["DE"], "destination_url": "https://shop.example/ios-de"},
    {"devices": ["ios"], "destination_url": "https://shop.example/ios"},
    {"devices": ["mobile"], "destination_url": "https://shop.example/mobile"},
    {"countries": ["DE", "AT"], "destination_url": "https://shop.example/de?p={partner_id}"},
]


@pytest.mark.parametrize(
    ("agent", "country", "path"),
    [
        (PHONE, "DE", "ios-de?"),
        (PHONE, "FR", "ios?"),
        (PHONE, None, "ios?"),
        (ANDROID, "DE", "mobile?"),
        (DESKTOP, "AT", "de?p=prt_7&"),
        (DESKTOP, "FR", "own?"),
        (DESKTOP, None, "own?"),
        ("", "DE", "de?"),
    ],
)
def test_p6_the_first_target_that_fits_a_visitor_is_taken(
    edge: Running, monkeypatch: pytest.MonkeyPatch, agent: str, country: str | None, path: str
) -> None:
    lists = edge.edge.networks.lists
    monkeypatch.setattr(lists.addresses, "of", lambda _at: (0, country))
    put(edge, url="https://shop.example/own", targets=TARGETS)
    assert location(edge, User_Agent=agent).startswith(f"https://shop.example/{path}")


def test_an_expired_link_leads_to_its_expired_destination_uncounted(edge: Running) -> None:
    put(edge, expires_ms=NOW_MS, expired_url="https://shop.example/over?a=b")
    reply = edge.call("GET", "/c/x")
    assert (reply.status, reply.headers["Location"]) == (302, "https://shop.example/over?a=b")
    assert "Set-Cookie" not in reply.headers
    put(edge, expires_ms=NOW_MS + 1, expired_url="https://shop.example/over")
    assert edge.call("GET", "/c/x").headers["Location"].startswith("https://shop.example/landing")
    assert len(edge.take()) == 1
    put(edge, expires_ms=NOW_MS, expired_url="https://shop.example/over", partner=9)
    assert edge.call("GET", "/c/x").status == 410


@pytest.mark.parametrize(
    "broken",
    [
        {"expired_url": "javascript:alert(1)"},
        {"targets": [{"devices": ["ios"], "destination_url": "https://a/\r\nX: y"}]},
        {"targets": ["x"]},
        {"utm": ["x"]},
    ],
)
def test_b2_a_link_with_a_destination_that_cannot_leave_is_left_out(
    edge: Running, broken: dict[str, Any]
) -> None:
    put(edge, **broken)
    assert edge.call("GET", "/c/x").status == 404


def test_a_link_follows_its_program_from_the_next_click_on(edge: Running) -> None:
    put(edge, url="https://shop.example/")
    assert "utm" not in location(edge)
    edge.edge.table.apply("program", 1, program(utm={"utm_source": "new"}))
    assert "utm_source=new" in location(edge)
    edge.edge.table.apply("program", 1, program(click_param="cid"))
    assert bare(location(edge)) == "https://shop.example/?cid=CLICK"


# ---- Previews ------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["+", "+?sub1=%3Cscript%3E", "+?u=https%3A%2F%2Fevil.example"])
def test_a_plus_shows_where_a_link_leads_and_counts_nothing(edge: Running, suffix: str) -> None:
    put(edge, url='https://shop.example/"><script>&b', utm={"utm_source": "s"})
    reply = edge.call("GET", f"/c/x{suffix}")
    assert reply.status == 200
    assert b"https://shop.example/&quot;&gt;&lt;script&gt;&amp;b?utm_source=s<" in reply.body
    assert b"<script>" not in reply.body
    assert b"evil" not in reply.body
    assert reply.headers["X-Robots-Tag"] == "noindex"
    assert reply.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "Set-Cookie" not in reply.headers
    assert "Location" not in reply.headers
    assert not edge.take()


def test_a_preview_of_an_expired_link_shows_its_expired_destination(edge: Running) -> None:
    put(edge, expires_ms=NOW_MS, expired_url="https://shop.example/over")
    assert b"https://shop.example/over" in edge.call("GET", "/c/x+").body
    put(edge, expires_ms=NOW_MS)
    assert edge.call("GET", "/c/x+").status == 410


@pytest.mark.parametrize("path", ["/c/unknown+", "/c/+", "/c/x++", "/c/x%2B", "/c/x+/"])
def test_a_preview_of_nothing_is_the_page_of_nothing(edge: Running, path: str) -> None:
    put(edge)
    assert edge.call("GET", path).status == 404


def test_a_tracking_domain_previews_too(edge: Running) -> None:
    reply = edge.call("GET", "/own+", headers={"Host": "go.shop.example"})
    assert (reply.status, b"shop.example/landing" in reply.body) == (200, True)


@pytest.mark.parametrize("path", ["/c/unknown", "/c/late", "/c/spring_1+"])
def test_pages_are_small_and_keep_to_themselves(edge: Running, path: str) -> None:
    reply = edge.call("GET", path)
    assert len(reply.body) < 1024
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert "frame-ancestors 'none'" in reply.headers["Content-Security-Policy"]


# ---- The cookie ----------------------------------------------------------------------------


def cookie_of(edge: Running, sent: str | None = None, **headers: str) -> str | None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if sent:
        named["Cookie"] = f"hw_visitor={sent}"
    return edge.call("GET", "/c/x", headers=named).headers["Set-Cookie"]


def value_of(cookie: str | None) -> str:
    match = re.match(r"hw_visitor=([^;]+);", cookie or "")
    assert match
    return match[1]


def test_i7_p4_the_cookie_is_written_only_when_its_end_changes(edge: Running) -> None:
    put(edge)
    value = value_of(cookie_of(edge))
    assert cookie_of(edge, value) is None
    edge.edge.now_ms = lambda: NOW_MS + DAY_MS
    later = value_of(cookie_of(edge, value))
    assert later[:26] == value[:26]
    assert int(later[27:]) == int(value[27:]) + 1
    assert cookie_of(edge, later) is None
    identifiers = {str(each.body[4]) for each in edge.take()}
    assert len(identifiers) == 1


def test_p15_the_cookie_lives_for_the_programs_window_and_never_less_than_it_did(
    edge: Running,
) -> None:
    put(edge)
    value = value_of(cookie_of(edge))
    edge.edge.table.apply("program", 1, program(click_window_seconds=7 * 86_400))
    assert cookie_of(edge, value) is None
    fresh = cookie_of(edge)
    assert fresh is not None
    assert "Max-Age=604800;" in fresh
    edge.edge.table.apply("program", 1, program(click_window_seconds=90 * 86_400))
    longer = cookie_of(edge, value)
    assert longer is not None
    assert "Max-Age=7776000;" in longer
    assert value[:26] in longer


def test_i7_a_cookie_lives_400_days_at_most(edge: Running) -> None:
    edge.edge.table.apply("program", 1, program(click_window_seconds=500 * 86_400))
    put(edge)
    forged = f"{ids.visitor_id()}.999999"
    cookie = cookie_of(edge, forged)
    assert cookie is not None
    assert "Max-Age=34560000;" in cookie
    assert value_of(cookie)[:26] == forged[:26]


@pytest.mark.parametrize(
    ("host", "scheme", "ending"),
    [
        ("go.shop.example", "https", "; Path=/; HttpOnly; Secure; SameSite=Lax"),
        ("track.net.example", "https", "; Path=/; HttpOnly; Secure; SameSite=None"),
        ("go.shop.example", "http", "; Path=/; HttpOnly; SameSite=Lax"),
    ],
)
def test_i7_a_cookie_is_of_its_host_alone(
    edge: Running, host: str, scheme: str, ending: str
) -> None:
    put(edge)
    cookie = cookie_of(edge, Host=host, X_Forwarded_Proto=scheme)
    assert cookie is not None
    assert cookie.endswith(ending)
    assert "Domain" not in cookie


def test_a_cookies_value_sent_as_visitor_id_is_the_same_visitor(edge: Running) -> None:
    put(edge)
    value = value_of(cookie_of(edge))
    digest = edge.one().body[4]
    for sent in (value, value[:26]):
        assert edge.post("/v1/identify", {"program": "check", "visitor_id": sent}).status == 202
        assert edge.one().body[2] == digest
    edge.post("/v1/identify", {"program": "check", "visitor_id": "own.1"})
    assert edge.one().body[2] != digest
