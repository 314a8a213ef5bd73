"""Who calls: forwarded chains, user agents, cookies. Rows B16-B18 of the bad-input table."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headwater import limits
from headwater.edge import client, cookies
from headwater.edge.address import place
from headwater.edge.client import Caller
from headwater.edge.network import Networks

PROXIES = client.TrustedProxies(["10.0.0.0/8", "2001:db8:1::/48"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.2.3.4, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1", "10.9.9.9"], "198.51.100.1"),
        ("10.0.0.1", ["10.1.1.1, 10.9.9.9"], "10.1.1.1"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::7]:443"], "2001:db8::7"),
        ("10.0.0.1", ["2001:db8::7"], "2001:db8::7"),
        ("10.0.0.1", ["fe80::1%eth0"], "fe80::1"),
        ("10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("2001:db8:1::5", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1,"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.300"], "10.0.0.1"),
        ("10.0.0.1", ["٣.٣.٣.٣"], "10.0.0.1"),
        ("10.0.0.1", ["\udcff"], "10.0.0.1"),
        ("10.0.0.1", ["<script>, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["9" * 10_000], "10.0.0.1"),
        ("10.0.0.1", [",".join(["1.2.3.4"] * 2000)], "1.2.3.4"),
        ("10.0.0.1", ["10.0.0.2," * 1000 + "10.0.0.3"], "10.0.0.2"),
        ("", ["198.51.100.1"], ""),
    ],
)
def test_b16_only_trusted_hops_are_believed(peer: str, forwarded: list[str], found: str) -> None:
    assert PROXIES.client(peer, forwarded) == found


@pytest.mark.parametrize("hops", [limits.FORWARDED_HOPS_MAX, limits.FORWARDED_HOPS_MAX + 1])
def test_b16_a_chain_is_followed_up_to_its_bound(hops: int) -> None:
    chain = ", ".join(["198.51.100.1", *["10.0.0.2"] * (hops - 1)])
    found = PROXIES.client("10.0.0.1", [chain])
    assert found == ("198.51.100.1" if hops == limits.FORWARDED_HOPS_MAX else "10.0.0.2")


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:aaaa:bbbb::1", "2001:db8:aaaa::/48"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ("nonsense", None),
        ("", None),
    ],
)
def test_an_address_is_kept_as_its_prefix(address: str, kept: str | None) -> None:
    found = place(address)
    assert (found.prefix if found else None) == kept


@pytest.mark.parametrize(
    ("agent", "word"),
    [
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0) Mobile/15E148", "mobile"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/141.0", "desktop"),
        ("Googlebot/2.1", "bot"),
        ("Mozilla/5.0 (compatible; YandexBots/3.0)", "bot"),
        ("Mozilla/5.0 (compatible; Baiduspider/2.0)", "bot"),
        ("curl/8.5.0", "bot"),
        ("python-requests/2.32", "bot"),
        ("Mozilla/5.0 (X11) AppleWebKit/537.36 HeadlessChrome/130.0.0.0 Safari/537.36", "bot"),
        ("Mozilla/5.0 (Linux; Android 10; CUBOT_X30) Chrome/130.0.0.0 Mobile", "mobile"),
        ("Mozilla/5.0 (Linux; Android 11; Cubot Note 20) Chrome/130.0.0.0 Mobile", "mobile"),
        ("Mozilla/5.0 (Windows NT 10.0) Botanica/1.0 Gecko/20100101 Firefox/140.0", "desktop"),
        ("", None),
        (None, None),
    ],
)
def test_with_consent_denied_a_user_agent_is_one_word(agent: str | None, word: str | None) -> None:
    caller = Caller("203.0.113.77", agent, "https://a.example/")
    kept = client.kept(Networks(), caller, 1, 0, denied=True)
    assert kept[:3] == (None, word, None)


@pytest.mark.parametrize(
    "agent",
    [
        "\x1b[31mred",
        "a\udcffb",
        "\udc80" * 2000,
        "x" * 8000,
        "é" * 4000,
        "\U0001f600" * 999,
        "\u202e",
    ],
)
def test_b17_any_user_agent_is_kept_short_and_can_be_encoded(agent: str) -> None:
    kept = client.kept(Networks(), Caller("203.0.113.77", agent, agent), 1, 0, denied=False)
    assert kept.user_agent is not None
    assert kept.referrer is not None
    assert len(kept.user_agent.encode("utf-8")) <= limits.USER_AGENT_BYTES_MAX
    assert len(kept.referrer.encode("utf-8")) <= limits.REFERRER_BYTES_MAX
    json.dumps(kept, ensure_ascii=False).encode("utf-8")


@pytest.mark.parametrize(
    ("referrer", "kept"),
    [
        (None, None),
        ("https://a.example/best?x=1", "https://a.example/best?x=1"),
        ("https://a.example/inbox?to=ada@b.example", "https://a.example"),
        ("https://a.example/ada%40b.example/", "https://a.example"),
        ("https://ada@b.example/", None),
        ("ada@b.example", None),
        ("https://social.example/@ada/notes.html", "https://social.example/@ada/notes.html"),
        ("https://a.example/?pay=4111+1111+1111+1111", None),
    ],
)
def test_of_a_referrer_nothing_personal_is_kept(referrer: str | None, kept: str | None) -> None:
    found = client.kept(Networks(), Caller("", None, referrer), 1, 0, denied=False)
    assert found.referrer == kept


GOOD = "4pyp87vt7dwxx4j0zx4j9yyj63"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (f"hw_visitor={GOOD}", GOOD),
        (f"a=b; hw_visitor={GOOD}; c=d", GOOD),
        (f"a=b;hw_visitor={GOOD};c=d", GOOD),
        (f"$Version=1; hw_visitor={GOOD}; $Path=/", GOOD),
        (f"hw_visitor=bad; hw_visitor={GOOD}", GOOD),
        (f"hw_visitor={GOOD}; hw_visitor=0{GOOD[1:]}", GOOD),
        (f'hw_visitor="{GOOD}"', None),
        (f"HW_VISITOR={GOOD}", None),
        (f"xhw_visitor={GOOD}", None),
        (f"hw_visitor={GOOD.upper()}", None if GOOD.upper() != GOOD else GOOD),
        (f"hw_visitor={GOOD}x", None),
        (f"hw_visitor={GOOD[:-1]}", None),
        (f"hw_visitor=8{GOOD[1:]}", None),
        ("hw_visitor=", None),
        ("hw_visitor", None),
        ("hw_visitor=" + "a" * 5000, None),
        ("hw_visitor=\udcff", None),
        ("=;;=; ;", None),
        ("", None),
    ],
)
def test_b18_a_cookie_is_the_visitors_only_when_it_is_well_formed(
    header: str, found: str | None
) -> None:
    assert cookies.read([header]) == found


def test_b18_two_cookie_headers_are_read_in_order() -> None:
    assert cookies.read(["a=b", f"hw_visitor={GOOD}"]) == GOOD


def cookie(**changes: Any) -> str:
    wanted = {
        "known_until": 0,
        "now_ms": 86_400_000,
        "age_s": 60,
        "secure": True,
        "same_site": True,
    }
    return cookies.header("v", **{**wanted, **changes}) or ""


def test_the_cookie_fits_the_way_it_comes() -> None:
    assert cookie(secure=False) == "hw_visitor=v.1; Max-Age=60; Path=/; HttpOnly; SameSite=Lax"
    assert cookie().endswith("; Secure; SameSite=Lax")
    assert cookie(same_site=False).endswith("; Secure; SameSite=None")


def test_a_site_is_the_registrable_domain() -> None:
    assert cookies.site("go.shop.co.uk") == cookies.site("www.shop.co.uk") == "shop.co.uk"
    assert cookies.site("127.0.0.1") == "127.0.0.1"
    assert cookies.site("[::1]") == "[::1]"
    assert cookies.site("localhost") == "localhost"
    assert cookies.site("") == ""
