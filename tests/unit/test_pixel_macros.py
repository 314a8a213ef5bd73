"""Macros: what they stand for, and that a value stays inside its place."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.book.macros import (
    BRACKETS,
    NAMES,
    SnippetRefused,
    attributes_of,
    preview,
    render_url,
    unknown_in,
    values_in,
    values_of,
)
from headwater.model.outbound import Rules, target_of
from headwater.model.records import Client
from pixel_tools import CLICK, T0, earned, told

# Whatever could end a place, start a macro or split a line, beside plain characters.
NASTY = st.text(
    st.one_of(st.sampled_from("{}[]&=#?/%\"'<>\r\n \\ä\0"), st.characters()), max_size=20
)
MACROS = st.sampled_from(["{sub1}", "{order_id}", "[orderId]", "[c1]", "{unknown}", "[unknown]"])
LITERALS = st.text("abc=&/.-_~%{}[]1", max_size=8)


def test_k15_each_macro_of_the_list_has_its_value() -> None:
    sub_ids = {f"sub{number}": f"s{number}" for number in range(1, 11)}
    said = told(
        params={"adv1": "campaign", "product_id": "p-9"},
        click_params={**sub_ids, "source": "mail", "shared_id": "x", "external_click_id": "e"},
    )
    found = values_of(earned(), said, bytes(16))
    known = {
        "click_id": "clk_00041061050r3gg28a1c60t3gf",
        "transaction_id": "clk_00041061050r3gg28a1c60t3gf",
        "order_id": "A/1 & more",
        "event_id": "evt_" + "0" * 26,
        "event_type": "sale",
        "event_name": "sale",
        "status": "pending",
        "status_code": "2",
        "payout": "2.50",
        "payout_currency": "USD",
        "sale_amount": "19.99",
        "currency": "EUR",
        "commission_type": "CPA",
        "offer_id": "prg_1",
        "campaign_id": "prg_1",
        "program_id": "prg_1",
        "campaign_name": "spring",
        "affiliate_id": "prt_1",
        "partner_id": "prt_1",
        "adv_id": "brd_1",
        "goal_id": "ety_3",
        "product_id": "p-9",
        "sku": "sku-1,sku-2",
        "promo_code": "SPRING10",
        "source": "mail",
        "shared_id": "x",
        "external_click_id": "e",
        "country": "NL",
        "ip_hash": "0" * 16,
        "datetime": "2026-09-21T14:13:20.000Z",
        "timestamp": str(T0 // 1000),
        "click_time": "2026-09-21T14:13:19.000Z",
        "is_test": "0",
        "is_upsell": "0",
        "random": "0",
        "tax_total": "3.00",
        "product_total": "14.99",
        "base_price": "15.99",
        "adv1": "campaign",
        "c1": "s1",
        "c5": "s5",
        "aff_sub": "s1",
        "aff_sub5": "s5",
    }
    assert {name: found.get(name) for name in known} == known
    assert {found[name] for name in sub_ids} == set(sub_ids.values())
    assert found.keys() <= NAMES
    assert found["action_id"].startswith("act_")
    assert found["conversion_id"].startswith("cnv_")


@pytest.mark.parametrize(
    ("user_agent", "known"),
    [
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
            "Chrome/120.0.0.0 Safari/537.36",
            ("desktop", "windows", "chrome"),
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 "
            "(KHTML, like Gecko) Version/17.0 Mobile/15E148 Safari/604.1",
            ("ios", "ios", "safari"),
        ),
        (
            "Mozilla/5.0 (Linux; Android 14; SM-S911B) AppleWebKit/537.36 (KHTML, like Gecko) "
            "SamsungBrowser/23.0 Chrome/115.0.0.0 Mobile Safari/537.36",
            ("android", "android", "samsung"),
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:121.0) Gecko/20100101 Firefox/121.0",
            ("desktop", "macos", "firefox"),
        ),
        (
            "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) "
            "Chrome/120.0.0.0 Safari/537.36",
            ("desktop", "chromeos", "chrome"),
        ),
        # All that is kept of a visitor who denied consent.
        ("mobile", ("mobile", None, None)),
        (None, (None, None, None)),
    ],
)
def test_k15_device_system_and_browser_are_those_of_the_click(
    user_agent: str | None, known: tuple[str | None, ...]
) -> None:
    said = told()
    assert said.click is not None
    click = said.click._replace(client=Client(None, user_agent, None))
    found = values_of(earned(), said._replace(click=click), bytes(16))
    assert tuple(found.get(name) for name in ("device", "os", "browser")) == known
    assert not {"region", "city"} & found.keys()


def test_an_upsell_names_its_product() -> None:
    found = values_of(earned(line="upsell:B-7", event_kind="sale"), told(), bytes(16))
    assert (found["product_id"], found["is_upsell"]) == ("B-7", "1")
    assert values_of(earned(state="reversed"), told(), bytes(16))["status_code"] == "3"
    assert values_of(earned(state="locked"), told(), bytes(16))["status_code"] == "1"


def test_what_clicks_earn_has_no_order() -> None:
    said = told()._replace(conversion=None, click=None, click_ms=None)
    action = earned(
        conversion_id=None, click_id=None, order_id=None, order_minor=0, event_kind="click",
        payout_currency="JPY", currency="JPY",
    )  # fmt: skip
    found = values_of(action, said, bytes(16))
    assert found["payout"] == "250"
    assert found["commission_type"] == "CPC"
    assert not {"order_id", "click_id", "sku", "country"} & found.keys()


def test_brackets_are_the_older_names() -> None:
    template = (
        "https://a.example/?o=[orderId]&t=[orderTotal]&p=[productTotal]&i=[productId]"
        "&b=[basePrice]&x=[taxTotal]&c=[c1][c2]"
    )
    values = values_of(earned(), told(click_params={"sub1": "u", "sub2": "v"}), bytes(16))
    assert render_url(template, values) == (
        "https://a.example/?o=A%2F1%20%26%20more&t=19.99&p=14.99&i=sku-1&b=15.99&x=3.00&c=uv"
    )
    assert not unknown_in(template)
    assert set(BRACKETS.values()) <= NAMES


def test_an_unknown_macro_is_named_once_and_is_empty() -> None:
    template = "https://a.example/?a={nope}&b={NOPE}&c=[what]&d={nope}&e={sub1}&f={}&g={ a }"
    assert unknown_in(template) == ["{nope}", "{NOPE}", "[what]"]
    assert render_url(template, {"sub1": "x"}) == (
        "https://a.example/?a=&b=&c=&d=&e=x&f={}&g={ a }"
    )
    assert values_in("{Sub1}[C1]{x", {"sub1": "a"}) == {"{Sub1}": "a", "[C1]": ""}
    assert render_url("{Sub1}[C1]", {"sub1": "x", "c1": "y"}) == "xy"


@given(st.lists(st.one_of(LITERALS, MACROS)), NASTY, NASTY)
def test_k14_a_value_never_becomes_a_macro_and_never_leaves_its_place(
    parts: list[str], one: str, two: str
) -> None:
    """One pass, by an oracle that walks the template by hand."""
    template = "https://a.example/" + "".join(parts)
    values = {"sub1": one, "c1": one, "order_id": two}
    expected, at = "", 0
    for name in re.finditer(r"[{]([A-Za-z]\w*)[}]|\[([A-Za-z]\w*)\]", template, re.ASCII):
        expected += template[at : name.start()]
        known = {"{sub1}": one, "[c1]": one, "{order_id}": two, "[orderid]": two}
        value = known.get(name[0].lower(), "")
        expected += "".join(
            character if re.fullmatch(r"[A-Za-z0-9_.~-]", character) else _percent(character)
            for character in value
        )
        at = name.end()
    assert render_url(template, values) == expected + template[at:]


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "replace"))


@given(NASTY, NASTY)
def test_k14_whatever_the_values_the_url_leads_where_it_was_written_to(one: str, two: str) -> None:
    url = render_url("https://a.example/{sub1}/p?x={sub2}&y=2", {"sub1": one, "sub2": two})
    target = target_of(url, Rules())
    assert target is not None
    assert target.host == "a.example"
    split = urlsplit(url)
    assert split.path.count("/") == 2
    assert unquote(split.path[1:-2], errors="replace") == _as_sent(one)
    pairs = parse_qsl(split.query, keep_blank_values=True, errors="replace")
    assert pairs == [("x", _as_sent(two)), ("y", "2")]


def _as_sent(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


@given(NASTY)
def test_k14_a_value_in_a_tag_stays_in_its_attribute(value: str) -> None:
    snippet = "<iframe src='https://a.example/?x={sub1}&amp;y=1' title=\"Order {sub1}\"></iframe>"
    made = preview("iframe", snippet, {"sub1": value})
    found: list[tuple[str, dict[str, str | None]]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append((tag, dict(attrs)))

        def handle_data(self, data: str) -> None:
            raise AssertionError(data)

    Reader().feed(made)
    ((tag, attributes),) = found
    assert tag == "iframe"
    assert attributes.keys() == {"src", "title"}
    if "\0" not in value:
        assert attributes["title"] == html.unescape(html.escape(f"Order {value}"))
    assert str(attributes["src"]).endswith("&y=1")


@pytest.mark.parametrize(
    ("kind", "snippet"),
    [
        ("image", '<img src="https://a.example/i?id={click_id}" width="1" height="1">'),
        ("image", "  <IMG SRC='https://a.example/i' />\n"),
        ("image", "<img src=https://a.example/i alt=''>"),
        ("iframe", '<iframe src="https://a.example/f" frameborder="0"></iframe>'),
        ("iframe", "<iframe src='https://a.example/f'>"),
    ],
)
def test_k14_one_tag_of_its_type_is_taken(kind: str, snippet: str) -> None:
    assert attributes_of(kind, snippet)["src"].startswith("https://a.example/")


@pytest.mark.parametrize(
    "snippet",
    [
        "",
        "https://a.example/i",
        "<img>",
        "<img src=''>",
        "<img src='https://a.example/i'><img src='https://a.example/j'>",
        "<img src='https://a.example/i'>text",
        "<p><img src='https://a.example/i'></p>",
        "<img src='https://a.example/i'><!-- c -->",
        "<!doctype html><img src='https://a.example/i'>",
        "<?x?><img src='https://a.example/i'>",
        "<![CDATA[x]]><img src='https://a.example/i'>",
        "<img src='https://a.example/i' onerror='alert(1)'>",
        "<img src='https://a.example/i' ONLOAD=x>",
        "<img src='https://a.example/i' srcset='https://b.example/i 2x'>",
        "<img src='https://a.example/i' src='https://b.example/i'>",
        "<img src='https://a.example/i' longdesc=x>",
        "<img src='https://a.example/i'",
        "<img src='https://a.example/i'></iframe>",
        "<img src='https://a.example/i'><script>alert(1)</script>",
        "<script src='https://a.example/i'></script>",
        "<iframe src='https://a.example/f'></iframe>",
        "<svg><img src='https://a.example/i'></svg>",
    ],
)
def test_k14_anything_but_one_image_is_refused(snippet: str) -> None:
    with pytest.raises(SnippetRefused):
        attributes_of("image", snippet)


@pytest.mark.parametrize(
    "snippet",
    [
        "<iframe srcdoc='<b>x</b>' src='https://a.example/f'></iframe>",
        "<iframe src='https://a.example/f' allow='camera'></iframe>",
        "<iframe src='https://a.example/f'><b>x</b></iframe>",
        "<iframe src='https://a.example/f'></iframe><iframe src='https://a.example/g'></iframe>",
        "<img src='https://a.example/i'>",
    ],
)
def test_k14_anything_but_one_empty_iframe_is_refused(snippet: str) -> None:
    with pytest.raises(SnippetRefused):
        attributes_of("iframe", snippet)


def test_k15_a_preview_is_what_would_be_fired() -> None:
    values = values_of(earned(), told(), bytes(16))
    assert preview("postback", "https://a.example/?o={order_id}", values) == (
        "https://a.example/?o=A%2F1%20%26%20more"
    )
    made = preview("image", "<img src='https://a.example/?o={order_id}' alt='{order_id}'>", values)
    assert made == '<img src="https://a.example/?o=A%2F1%20%26%20more" alt="A/1 &amp; more">'


def test_the_page_names_every_macro() -> None:
    page = (Path(__file__).parents[2] / "docs" / "partner-pixels.md").read_text("utf-8")
    part = page.partition("## Macros")[2].partition("\n## ")[0]
    on_page = {name.lower() for name in re.findall(r"\{([A-Za-z0-9_]+)\}", part)}
    for first, last in re.findall(r"`\{([a-z_]+\d+)\}`\.\.`\{[a-z_]+?(\d+)\}`", part):
        stem = first.rstrip("0123456789")
        start = int(first.removeprefix(stem))
        on_page |= {f"{stem}{number}" for number in range(start, int(last) + 1)}
    assert on_page == NAMES
    in_brackets = set(re.findall(r"`\[(\w+)\]`", part))
    assert {name.lower() for name in in_brackets} == BRACKETS.keys()
    assert CLICK
