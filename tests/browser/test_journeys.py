"""From the click to the attributed conversion, in a real browser, by every way there is."""

from __future__ import annotations

from typing import Any

import pytest

from browser_tools import OTHER, OWN, WATCH, Brand, agent_of, answers, convert
from headwater.model.records import decode

ORDER = {"order_id": "B-1", "amount": "49.90", "currency": "EUR"}


def collected(page: Any, kind: str) -> Any:
    """Wait for the answer to an event of this type."""
    return page.expect_response(
        lambda answer: (
            "/v1/collect" in answer.url and f'"type":"{kind}"' in (answer.request.post_data or "")
        )
    )


def confirm(page: Any, brand: Brand, **fields: Any) -> dict[str, Any]:
    """Go to the confirmation page of an order; what the tag was told of it."""
    if "/thanks" not in brand.site.pages:
        brand.page("/thanks", convert(**(fields or ORDER)))
    page.goto(f"{brand.site.address}/thanks")
    return answers(page)[0]


def attributed(brand: Brand, order_id: str = "B-1") -> None:
    decision = brand.decision(order_id)
    assert decision["status"] == "attributed", decision
    assert [each["partner_id"] for each in decision["credits"]] == [brand.partner]


def cookies(context: Any) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in context.cookies()}


def test_i1_i3_i4_i7_by_redirect(brand: Brand, context: Any, page: Any) -> None:
    brand.page("/landing")
    with collected(page, "page"):
        page.goto(brand.clicked())
    assert "click_id=clk_" in page.url
    kept = cookies(context)
    assert kept["hw_visitor"]["httpOnly"]
    assert kept["hw_visitor"]["domain"] == OWN
    # The tracking host's own cookie works, so the script keeps none.
    page.wait_for_function("!document.cookie")
    told = confirm(page, brand)
    assert told["ok"]
    assert told["pixels"] == []
    attributed(brand)
    assert page.evaluate("faults") == []


def test_i8_by_direct_mode_without_another_host(brand: Brand, context: Any, page: Any) -> None:
    brand.page("/landing")
    went: list[str] = []
    page.on("framenavigated", lambda frame: went.append(frame.url))
    with collected(page, "click") as answer:
        page.goto(f"{brand.site.address}/landing?hw_link={brand.link}&sub1=a")
    assert answer.value.json()["click_id"].startswith("clk_")
    told = confirm(page, brand)
    assert told["ok"]
    assert all(url.startswith(brand.site.address) for url in went)
    attributed(brand)
    brand.wait_count("clicks", 1)


def test_i8_a_partner_alone_will_do_and_a_reload_is_no_second_click(
    brand: Brand, page: Any
) -> None:
    brand.page("/landing")
    ids = set()
    with collected(page, "click") as answer:
        page.goto(f"{brand.site.address}/landing?hw_partner={brand.partner}")
    ids.add(answer.value.json()["click_id"])
    with collected(page, "click") as answer:
        page.reload()
    ids.add(answer.value.json()["click_id"])
    assert len(ids) == 1
    confirm(page, brand)
    attributed(brand)
    brand.wait_count("clicks", 1)


@pytest.mark.parametrize("mode", ["redirect", "direct"])
def test_i7_with_script_cookies_blocked(brand: Brand, context: Any, page: Any, mode: str) -> None:
    context.add_init_script(
        "Object.defineProperty(document, 'cookie', {"
        "get() { throw new DOMException('no', 'SecurityError'); },"
        "set() { throw new DOMException('no', 'SecurityError'); }})"
    )
    brand.page("/landing")
    direct = f"{brand.site.address}/landing?hw_link={brand.link}"
    with collected(page, "page" if mode == "redirect" else "click"):
        page.goto(brand.clicked() if mode == "redirect" else direct)
    confirm(page, brand)
    attributed(brand)
    assert set(cookies(context)) == {"hw_visitor"}
    assert page.evaluate("faults") == []


@pytest.mark.parametrize("mode", ["redirect", "direct"])
def test_i5_with_third_party_cookies_blocked(
    brand: Brand, context: Any, page: Any, mode: str
) -> None:
    head = brand.head(OTHER)
    brand.page("/landing", head=head)
    brand.page("/thanks", convert(**ORDER), head=head)
    direct = f"{brand.site.address}/landing?hw_link={brand.link}"
    with collected(page, "page" if mode == "redirect" else "click") as answer:
        page.goto(brand.clicked(OTHER) if mode == "redirect" else direct)
    assert answer.value.json()["cookie"] == "none"
    assert "hw_visitor" not in answer.value.request.all_headers().get("cookie", "")
    page.wait_for_function("document.cookie.includes('.clk_')")
    kept = cookies(context)["hw_tag"]
    assert kept["sameSite"] == "Lax"
    assert kept["domain"] == ".shop.test"
    with collected(page, "conversion") as sent:
        confirm(page, brand)
    assert sent.value.request.post_data_json["cookie_origin"] == "js"
    attributed(brand)


def test_i6_the_kind_of_cookie_is_kept_with_the_conversion(brand: Brand, page: Any) -> None:
    brand.page("/landing")
    with collected(page, "page"):
        page.goto(brand.clicked())
    page.wait_for_function("!document.cookie")
    confirm(page, brand)
    brand.wait_count("conversions", 1)
    (record,) = brand.records("conversions")
    assert decode(record).body.params == {"cookie_origin": "http"}


@pytest.mark.parametrize("wish", ["gpc", "dnt"])
def test_with_gpc_or_dnt_nothing_is_kept(brand: Brand, browser: Any, wish: str) -> None:
    said = {
        "gpc": "Object.defineProperty(navigator, 'globalPrivacyControl', {value: true})",
        "dnt": "Object.defineProperty(navigator, 'doNotTrack', {value: '1'})",
    }
    headers = {"Sec-GPC": "1"} if wish == "gpc" else {"DNT": "1"}
    context = browser.new_context(user_agent=agent_of(browser), extra_http_headers=headers)
    context.add_init_script(WATCH)
    context.add_init_script(said[wish])
    page = context.new_page()
    brand.page("/landing", convert(customer_id="c", **ORDER))
    link = f"{brand.clicked()}?consent=denied" if wish == "dnt" else brand.clicked()
    page.goto(link)
    answers(page)
    # On the landing page itself the click id of its address counts, and nothing else.
    attributed(brand)
    assert cookies(context) == {}
    assert page.evaluate("sessionStorage.length + localStorage.length") == 0
    brand.page("/thanks", convert(**{**ORDER, "order_id": "B-2", "customer_id": "c"}))
    told = confirm(page, brand)
    assert told["ok"]
    decision = brand.decision("B-2")
    assert (decision["status"], decision["reason"]) == ("unattributed", "consent_denied")
    for record in brand.records("conversions"):
        assert decode(record).body.identifiers == []
    context.close()


def test_i3_with_the_tag_twice(brand: Brand, page: Any) -> None:
    sent: list[str] = []
    page.on("request", lambda each: sent.append(each.url) if "/v1/" in each.url else None)
    twice = brand.head() * 2 + f'<script async src="{brand.address()}/tag.js"></script>'
    brand.page("/landing", head=twice)
    brand.page("/thanks", convert(**ORDER), head=twice)
    with collected(page, "page"):
        page.goto(brand.clicked())
    page.wait_for_load_state("networkidle")
    assert len(sent) == 1
    confirm(page, brand)
    page.wait_for_load_state("networkidle")
    assert len(sent) == 2
    assert page.evaluate("told.length") == 1
    attributed(brand)
    brand.wait_count("conversions", 1)


def test_i3_calls_before_the_file_arrives_are_made_in_order_once(brand: Brand, page: Any) -> None:
    kinds: list[str] = []
    page.on(
        "request",
        lambda each: kinds.append(each.post_data_json["type"]) if "/v1/" in each.url else None,
    )
    calls = "<script>headwater('identify', {customer_id: 'c'});headwater('page')</script>"
    address = brand.page("/thanks", calls + convert(**ORDER))
    page.goto(address)
    answers(page)
    assert kinds == ["identify", "page", "conversion"]


def test_with_the_page_reloaded(brand: Brand, page: Any) -> None:
    brand.page("/landing")
    with collected(page, "page"):
        page.goto(brand.clicked())
    brand.page("/thanks", convert(**ORDER) + convert("lead", customer_id="c"))
    ids = []
    for _ in range(2):
        page.goto(f"{brand.site.address}/thanks") if not ids else page.reload()
        told = answers(page, 2)
        assert all(each["ok"] for each in told)
        ids.append({each["conversion_id"] for each in told})
    assert ids[0] == ids[1]
    attributed(brand)
    brand.wait_count("conversions", 2)


def test_offline_then_online(brand: Brand, context: Any, page: Any) -> None:
    brand.page("/landing", head=brand.head())
    with collected(page, "page"):
        page.goto(brand.clicked())
    page.wait_for_function("headwater.live")
    context.set_offline(True)
    page.evaluate(f"headwater('trackConversion', 'sale', {ORDER}, {{callback: a => told.push(a)}})")
    page.wait_for_function("sessionStorage.getItem('hw_kept')")
    assert page.evaluate("told") == []
    context.set_offline(False)
    answers(page)
    assert page.evaluate("sessionStorage.getItem('hw_kept')") is None
    attributed(brand)


def test_what_was_kept_offline_is_sent_from_the_next_page(
    brand: Brand, context: Any, page: Any
) -> None:
    brand.page("/landing")
    brand.page("/next")
    with collected(page, "page"):
        page.goto(brand.clicked())
    page.wait_for_function("headwater.live")
    page.route("**/v1/collect", lambda route: route.abort())
    page.route("**/px.gif*", lambda route: route.abort())
    page.evaluate(f"headwater('trackConversion', 'sale', {ORDER})")
    page.wait_for_function("sessionStorage.getItem('hw_kept')")
    page.unroute("**/v1/collect")
    page.unroute("**/px.gif*")
    with collected(page, "conversion"):
        page.goto(f"{brand.site.address}/next")
    attributed(brand)


def test_i2_by_the_bare_pixel_with_javascript_off(brand: Brand, browser: Any) -> None:
    context = browser.new_context(user_agent=agent_of(browser), java_script_enabled=False)
    page = context.new_page()
    text = brand.snippet()
    pixel = text[text.index("<noscript>") : text.index("</noscript>") + len("</noscript>")]
    filled = pixel.replace("ORDER_ID", "B-1").replace("AMOUNT", "49.90")
    filled = filled.replace("CUSTOMER_ID", "c-1")
    brand.page("/landing")
    brand.page("/thanks", filled)
    page.goto(brand.clicked())
    with page.expect_response("**/px.gif*") as answer:
        page.goto(f"{brand.site.address}/thanks")
    assert answer.value.status == 200
    attributed(brand)
    context.close()


def test_i7_i23_below_a_path_of_the_shops_own_host(brand: Brand, context: Any, page: Any) -> None:
    head = brand.head(base=f"{brand.site.address}/hw")
    brand.page("/landing", head=head)
    brand.page("/thanks", convert(**ORDER), head=head)
    with collected(page, "click"):
        page.goto(f"{brand.site.address}/landing?hw_link={brand.link}")
    assert cookies(context)["hw_visitor"]["domain"] == "shop.test"
    confirm(page, brand)
    attributed(brand)
    assert "/hw/v1/collect" in brand.site.asked


def test_i1_tag_pixel_and_server_report_one_conversion(brand: Brand, page: Any) -> None:
    brand.page("/landing")
    with collected(page, "page"):
        page.goto(brand.clicked())
    told = confirm(page, brand)
    body = {"program": brand.code, "event": "sale", "customer_id": "c", **ORDER}
    again = brand.system.convert(body, brand.key, 200)
    assert again["conversion_id"] == told["conversion_id"]
    query = f"program={brand.code}&event=sale&order_id=B-1&amount=49.90&customer_id=c"
    assert brand.system.edge("GET", f"/px.gif?{query}").status == 200
    attributed(brand)
    brand.wait_count("conversions", 1)


def test_i5_when_the_script_cookie_has_expired_nobody_is_guessed(
    brand: Brand, context: Any, page: Any
) -> None:
    head = brand.head(OTHER)
    known = convert(customer_id="known", **{**ORDER, "order_id": "B-2"})
    stranger = convert(customer_id="stranger", **ORDER)
    brand.page(
        "/landing", "<script>headwater('identify', {customer_id: 'known'})</script>", head=head
    )
    brand.page("/thanks", stranger + known, head=head)
    with collected(page, "identify"):
        page.goto(brand.clicked(OTHER))
    context.clear_cookies()
    page.goto(f"{brand.site.address}/thanks")
    answers(page, 2)
    decision = brand.decision("B-1")
    assert (decision["status"], decision["reason"]) == ("unattributed", "no_identifier_known")
    attributed(brand, "B-2")
