"""Deep links: where a visitor may be sent. Row B2 of the bad-input table."""

from __future__ import annotations

import pytest

from headwater import limits
from headwater.edge import deeplink

HOSTS = frozenset({"shop.example", "xn--bcher-kva.example", "localhost"})


def allowed(url: str, *, http: bool = False) -> bool:
    return deeplink.allowed(url, hosts=HOSTS, suffixes=(".wild.example",), http=http)


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example",
        "https://shop.example/",
        "https://shop.example/a/b;c=1?q=a%20b&r=c+d#frag",
        "https://shop.example?x=1",
        "https://shop.example#top",
        "https://shop.example/?next=https://evil.example/@x",
        "https://shop.example/%0d%0aSet-Cookie:x",
        "https://xn--bcher-kva.example/",
        "https://a.wild.example/x",
        "https://a.b.wild.example/x",
        "https://localhost/x",
    ],
)
def test_a_deep_link_within_the_program_is_taken(url: str) -> None:
    assert allowed(url)


REFUSED = [
    "",
    "/path",
    "shop.example",
    "//evil.example",
    "//shop.example/",
    "https:evil.example",
    "https:/shop.example",
    "https:///shop.example",
    "https:shop.example",
    "https://evil.example/",
    "https://shop.example.evil.example/",
    "https://evilshop.example/",
    "https://sub.shop.example/",
    "https://wild.example/",
    "https://evilwild.example/",
    "https://shop.example@evil.example/",
    "https://user@shop.example/",
    "https://user:pass@shop.example/",
    "https://@shop.example/",
    "https://evil.example#@shop.example/",
    "https://evil.example?@shop.example/",
    "https://evil.example\\@shop.example/",
    "https://shop.example\\.evil.example/",
    "https://shop.example/\\x",
    "\\\\evil.example",
    "https:\\\\evil.example",
    "/\\evil.example",
    "https://shop.example:443/",
    "https://shop.example:8443/",
    "https://shop.example:/",
    "https://shop.example./",
    "https://SHOP.example/",
    "HTTPS://shop.example/",
    "http://shop.example/",
    "ftp://shop.example/",
    "javascript:alert(1)",
    "javascript://shop.example/%0aalert(1)",
    "data:text/html,x",
    "vbscript:x",
    " https://shop.example/",
    "https://shop.example/ ",
    "https://shop.example/a b",
    "\thttps://shop.example/",
    "https://shop.example/\t",
    "ht\ttps://shop.example/",
    "ht\ntps://shop.example/",
    "https://shop.\nexample/",
    "https://shop.example/\r\nSet-Cookie: x=1",
    "https://shop.example/\x00",
    "https://shop.example\x00.evil.example/",
    "https://shop.example%00.evil.example/",
    "https://shop%2eexample/",
    "https://shop.example%2f@evil.example/",
    "https%3A%2F%2Fshop.example%2F",
    "https://ѕhop.example/",
    "https://shop。example/",
    "https://shop.example/é",
    "https://bücher.example/",
    "https://xn--80ak6aa92e.example/",
    "https://[::1]/",
    "https://127.0.0.1/",
    "https://2130706433/",
    "https://shop..example/",
    "https://-shop.example/",
    "https://shop.example\ufffd/",
    "https://shop.example;evil.example/",
    "https://shop.example,evil.example/",
]


@pytest.mark.parametrize("url", REFUSED)
def test_b2_a_deep_link_out_of_the_program_is_refused(url: str) -> None:
    assert not allowed(url)
    assert not allowed(url, http=True) or url == "http://shop.example/"


def test_plain_http_is_taken_where_the_program_itself_is_on_it() -> None:
    assert allowed("http://shop.example/x", http=True)


def test_b2_a_deep_link_is_taken_up_to_its_bound() -> None:
    stem = "https://shop.example/"
    assert allowed(stem + "a" * (limits.URL_BYTES_MAX - len(stem)))
    assert not allowed(stem + "a" * (limits.URL_BYTES_MAX - len(stem) + 1))
