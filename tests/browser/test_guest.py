"""The tag as a guest in the page: nothing is delayed, broken, leaked or kept against a wish."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser_tools import Brand, Silent, answers, convert
from docs_tools import blocks
from headwater import _core
from headwater.identity_key import load_or_create
from headwater.model.records import decode
from system_tools import wait_for

ORDER = {"order_id": "G-1", "amount": "5.00", "currency": "EUR"}
HASHED = "headwater('identify', {email: ' Ada@B.Example '})"


@pytest.fixture
def silent() -> Iterator[Silent]:
    found = Silent()
    yield found
    found.close()


def posts(page: Any) -> list[dict[str, Any]]:
    """The events the page sends from now on."""
    sent: list[dict[str, Any]] = []
    page.on(
        "request",
        lambda each: sent.append(each.post_data_json) if "/v1/collect" in each.url else None,
    )
    return sent


def lived(page: Any) -> None:
    page.wait_for_function("window.headwater && headwater.live")


# ---- The page does not wait -------------------------------------------------------------------


def test_a_host_that_hangs_does_not_delay_the_pages_load(
    brand: Brand, page: Any, silent: Silent
) -> None:
    mute = f"http://go.shop.test:{silent.port}"
    late = "<script>addEventListener('load', () => setTimeout(() => order.push('after')))</script>"
    address = brand.page("/thanks", late + convert(**ORDER), head=brand.head(base=mute))
    page.goto(address, wait_until="load")
    page.wait_for_function("order.length > 1")
    assert page.evaluate("order") == ["load", "after"]
    # The tag was asked for, and is still being waited for by nobody.
    page.wait_for_function(f"!!document.querySelector('script[src^=\"{mute}\"]')")
    assert page.evaluate("document.readyState") == "complete"
    assert page.evaluate("headwater.live") is None
    assert page.evaluate("headwater.q.length") == 1
    timing = page.evaluate(
        "(performance.getEntriesByType('navigation')[0].loadEventEnd > 0)"
        f"&& performance.getEntriesByType('resource').every(e => !e.name.startsWith('{mute}'))"
    )
    assert timing is True
    assert silent.taken > 0


def test_the_plain_script_element_alone_holds_the_load_event(
    brand: Brand, page: Any, silent: Silent
) -> None:
    """What the snippet's few lines are for; and that the test above could fail."""
    mute = f"http://go.shop.test:{silent.port}"
    plain = f'<script async src="{mute}/tag.js" data-program="{brand.code}"></script>'
    address = brand.page("/thanks", head=plain)
    page.goto(address, wait_until="domcontentloaded")
    wait_for(lambda: silent.taken > 0, 60, "the tag is asked for")
    assert page.evaluate("document.readyState") == "interactive"
    assert page.evaluate("order") == []


def test_a_host_that_hangs_later_costs_the_page_nothing(
    brand: Brand, page: Any, silent: Silent
) -> None:
    mute = f"http://go.shop.test:{silent.port}"
    head = brand.head().replace('data-program="', f'data-host="{mute}" data-program="')
    brand.page("/next", head="")
    address = brand.page("/thanks", convert(**ORDER) + "<a href=/next>on</a>", head=head)
    page.goto(address)
    lived(page)
    page.wait_for_function("order.length > 0")
    page.click("a")
    page.wait_for_url("**/next")
    assert silent.taken > 0
    assert page.evaluate("faults") == []


# ---- The page does not break ------------------------------------------------------------------


def test_nothing_is_thrown_into_the_page(brand: Brand, page: Any) -> None:
    page.goto(brand.page("/landing"))
    lived(page)
    page.evaluate(
        """() => {
            headwater(); headwater('nosuch'); headwater('constructor'); headwater(null, 1);
            headwater('identify'); headwater('identify', null); headwater('identify', 5);
            headwater('consent'); headwater('consent', {}); headwater('page', 1, 2);
            headwater('trackConversion'); headwater('trackConversion', null, null, null);
            const loop = {}; loop.loop = loop; headwater('trackConversion', 'sale', loop);
            headwater('trackConversion', 'lead', {customer_id: 'c'}, {callback: 5});
            headwater('trackConversion', 'lead', {customer_id: 'd'}, {callback() {
                told.push(1); throw new Error('of the page');
            }});
        }"""
    )
    answers(page)
    page.wait_for_load_state("networkidle")
    assert page.evaluate("faults") == []


def test_no_global_but_its_own(brand: Brand, page: Any) -> None:
    keys = "Object.keys(window).filter(name => !['faults', 'told', 'order'].includes(name))"
    page.goto(brand.page("/empty", head=""))
    before = set(page.evaluate(keys))
    page.goto(brand.page("/landing"))
    lived(page)
    assert set(page.evaluate(keys)) - before == {"headwater"}


@pytest.mark.parametrize("form", ["nonce", "hosts"])
def test_under_a_strict_policy(brand: Brand, page: Any, form: str) -> None:
    host = brand.address()
    text = brand.snippet()
    if form == "nonce":
        policy = f"script-src 'nonce-r4nd0m' 'strict-dynamic'; connect-src {host}"
        head = brand.head().replace("<script ", '<script nonce="r4nd0m" ')
        body = convert(**ORDER).replace("<script>", '<script nonce="r4nd0m">')
    else:
        policy = f"script-src 'self' {host}; connect-src {host}"
        plain = text[text.index("<script async") : text.rindex("-->")]
        head = plain
        body = "<script src=/own.js defer></script>"
        brand.site.pages["/own.js"] = brand.script(
            "window.headwater = window.headwater || function () {"
            "(headwater.q = headwater.q || []).push(arguments); };"
            + convert(**ORDER).removeprefix("<script>").removesuffix("</script>")
        )
    csp = f"default-src 'none'; img-src {host}; base-uri 'none'; {policy}"
    brand.page("/landing", head=head, Content_Security_Policy=csp)
    address = brand.page("/thanks", body, head=head, Content_Security_Policy=csp)
    with page.expect_response("**/v1/collect"):
        page.goto(brand.clicked())
    page.goto(address)
    answers(page)
    assert brand.decision("G-1")["status"] == "attributed"
    assert page.evaluate("faults") == []


def test_where_posting_is_forbidden_the_image_goes(brand: Brand, page: Any) -> None:
    brand.page("/landing")
    with page.expect_response("**/v1/collect"):
        page.goto(brand.clicked())
    items = [{"sku": "a", "quantity": 2, "subtotal": "5.00", "category": "x"}]
    address = brand.page(
        "/thanks", convert(items=items, **ORDER), Content_Security_Policy="connect-src 'none'"
    )
    with page.expect_response("**/px.gif*") as answer:
        page.goto(address)
    assert "sku1=a&qty1=2&amt1=5.00&cat1=x" in answer.value.url
    assert answers(page)[0]["ok"] is True
    assert brand.decision("G-1")["status"] == "attributed"


def test_while_the_page_is_leaving_a_beacon_goes(brand: Brand, page: Any) -> None:
    brand.page("/landing")
    brand.page("/next", head="")
    with page.expect_response("**/v1/collect"):
        page.goto(brand.clicked())
    page.evaluate(
        "(order) => { const beacon = navigator.sendBeacon.bind(navigator);"
        "navigator.sendBeacon = (...all) => (localStorage.beacons = 1, beacon(...all));"
        "window.fetch = () => { localStorage.fetched = 1; return Promise.reject(); };"
        "addEventListener('pagehide', () => headwater('trackConversion', 'sale', order)); }",
        ORDER,
    )
    page.goto(f"{brand.site.address}/next")
    assert brand.decision("G-1")["status"] == "attributed"
    assert page.evaluate("[localStorage.beacons, localStorage.fetched || '']") == ["1", ""]


def test_the_documented_calls_work_as_printed(brand: Brand, page: Any) -> None:
    text = (Path(__file__).parents[2] / "docs" / "tag.md").read_text("utf-8")
    (calls,) = re.findall(r"```js\n(.*?)```", text, re.DOTALL)
    said: list[str] = []
    page.on("console", lambda each: said.append(each.text) if each.type == "log" else None)
    sent = posts(page)
    page.goto(brand.page("/thanks", f"<script>{calls}</script>"))
    wait_for(lambda: page.wait_for_timeout(20) or said, 60, "the callback is called")
    assert said[0].startswith("true cnv_")
    page.wait_for_load_state("networkidle")
    assert [each["type"] for each in sent] == ["conversion", "identify", "page"]
    assert page.evaluate("faults") == []


def test_the_brands_first_lines_work_as_printed(brand: Brand, page: Any) -> None:
    lines = blocks("docs/integration.md", "html")[0]
    lines = lines.replace("https://go.shop.example", brand.address()).replace("acme", brand.code)
    with page.expect_response("**/v1/collect") as answer:
        page.goto(brand.page("/thanks", lines, head=""))
    assert answer.value.ok
    assert brand.decision("2002")["status"] == "unattributed"
    assert page.evaluate("faults") == []


# ---- What is said of the visitor ----------------------------------------------------------------


def test_i11_an_address_is_hashed_before_it_leaves(brand: Brand, page: Any) -> None:
    sent = posts(page)
    address = brand.page("/thanks", f"<script>{HASHED}</script>{convert(**ORDER)}")
    page.goto(address)
    answers(page)
    assert [each["type"] for each in sent] == ["identify", "conversion"]
    expected = hashlib.sha256(b"ada@b.example").hexdigest()
    for each in sent:
        assert each["email_sha256"] == expected
        assert "email" not in each
    brand.wait_count("conversions", 1)
    (record,) = [decode(raw) for raw in brand.records("conversions")]
    key = load_or_create(brand.system.settings.data)
    plain = _core.identifier_digest(key, record.brand, "email", "ada@b.example")
    assert [3, plain] in record.body.identifiers


def test_i11_where_nothing_can_be_hashed_no_address_leaves(brand: Brand, page: Any) -> None:
    page.add_init_script("Object.defineProperty(crypto, 'subtle', {value: undefined})")
    sent = posts(page)
    page.goto(brand.page("/thanks", f"<script>{HASHED}</script>" + convert(**ORDER)))
    answers(page)
    assert "ada" not in str(sent).lower()
    assert "email" not in str(sent)


def test_consent_that_is_given_later_ties_the_click_to_the_visitor(
    brand: Brand, context: Any, page: Any
) -> None:
    brand.page(
        "/landing", head=brand.head().replace("data-program", "data-consent=denied data-program")
    )
    brand.page("/thanks", convert(**ORDER))
    sent = posts(page)
    page.goto(f"{brand.clicked()}?consent=denied")
    lived(page)
    page.wait_for_load_state("networkidle")
    assert context.cookies() == []
    assert [each["consent"] for each in sent] == ["denied"]
    assert "visitor_id" not in sent[0]
    with page.expect_response("**/v1/collect"):
        page.evaluate("headwater('consent', 'granted')")
    assert {each["name"] for each in context.cookies()} >= {"hw_visitor"}
    page.goto(f"{brand.site.address}/thanks")
    answers(page)
    assert brand.decision("G-1")["status"] == "attributed"


def test_consent_that_is_withdrawn_takes_everything_back(
    brand: Brand, context: Any, page: Any
) -> None:
    brand.page("/landing")
    with page.expect_response("**/v1/collect"):
        page.goto(f"{brand.site.address}/landing?hw_link={brand.link}")
    lead = "headwater('trackConversion', 'lead', {customer_id: 'c'}, {callback: a => told.push(a)})"
    page.evaluate(lead)
    answers(page)
    assert page.evaluate("sessionStorage.length") > 0
    assert context.cookies() != []
    with page.expect_response("**/v1/collect"):
        page.evaluate("headwater('consent', 'denied')")
    page.wait_for_function("!document.cookie")
    assert context.cookies() == []
    assert page.evaluate("sessionStorage.length") == 0
    sent = posts(page)
    page.evaluate("headwater('identify', {customer_id: 'c'})")
    page.evaluate(lead)
    answers(page, 2)
    assert [each["type"] for each in sent] == ["conversion"]
    assert "customer_id" not in sent[0]
    assert "visitor_id" not in sent[0]


def test_where_the_program_assumes_no_consent_the_tag_does_too(
    brand: Brand, context: Any, page: Any
) -> None:
    program = brand.system.console.program(brand.code)
    brand.system.console.patch(f"/v1/programs/{program['id']}", {"consent_default": "denied"})
    brand.system.wait_configured()
    assert 'data-consent="denied"' in brand.head()
    # A snippet that was pasted before the program changed learns it from the first answer.
    old = brand.head().replace(' data-consent="denied"', "")
    brand.page("/landing", head=old)
    with page.expect_response("**/v1/collect"):
        page.goto(brand.clicked())
    page.wait_for_function("!document.cookie")
    assert context.cookies() == []


def test_a_page_of_another_site_reports_nothing_by_the_tag(brand: Brand, page: Any) -> None:
    brand.page("/thanks", convert(event="lead", customer_id="c"))
    rival = f"http://rival.test:{brand.site.port}/thanks"
    # What is refused cannot be read by the page either; the image that follows is the pixel's.
    with page.expect_event("requestfailed", lambda each: "/v1/collect" in each.url):
        page.goto(rival)
    brand.wait_count("rejections", 1)


def test_the_pages_address_is_not_told_with_what_is_personal(brand: Brand, page: Any) -> None:
    brand.page("/landing", "<script>headwater('page')</script>")
    with page.expect_response("**/v1/collect"):
        page.goto(f"{brand.site.address}/landing?email=ada@b.example&utm_source=x#me")
    brand.wait_count("observations", 1)
    (raw,) = brand.records("observations")
    assert decode(raw).body.url == f"{brand.site.address}/landing?utm_source=x"
