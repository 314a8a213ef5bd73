"""`headwater check-page`: pages of every kind, and what is said of each."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from browser_tools import OTHER, Brand, Page, convert
from headwater.errors import HeadwaterError
from headwater.ops import check_page
from headwater.ops.check_page import findings, report, run_check_page, went_through
from headwater.ops.page_watch import Seen, watch

ORDER = {"order_id": "K-1", "amount": "5.00", "currency": "EUR", "customer_id": "c"}
PIXEL = '<img src="{host}/px.gif?program={program}&event=sale&order_id=K-2&amount=1&customer_id=c">'


def told(seen: Seen, program: str | None = None) -> dict[str, list[str]]:
    """Faults by the part they are of."""
    faults: dict[str, list[str]] = {}
    for finding in findings(seen, program):
        if not finding.ok:
            faults.setdefault(finding.part, []).append(finding.seen)
    return faults


def outcomes(seen: Seen) -> list[tuple[str, str, str]]:
    return [(each.kind, each.event, each.outcome) for each in seen.calls]


def test_a_good_page(brand: Brand, page: Any) -> None:
    seen = watch(page, brand.page("/thanks", convert(**ORDER)))
    assert outcomes(seen) == [("tag", "", "ok"), ("collect", "conversion sale", "ok")]
    assert went_through(seen, brand.code)
    assert told(seen, brand.code) == {}
    made = report(seen, [], True)
    assert [(each["name"], each["set_by"]) for each in made["cookies"]] == []
    json.dumps(made)


def test_who_sets_which_cookie(brand: Brand, page: Any) -> None:
    seen = watch(page, brand.clicked())
    assert {(each["name"], each["httpOnly"]) for each in seen.cookies} == {("hw_visitor", True)}


def test_a_page_with_the_pixel_alone(brand: Brand, page: Any) -> None:
    pixel = PIXEL.format(host=brand.address(), program=brand.code)
    seen = watch(page, brand.page("/thanks", pixel, head=""))
    assert outcomes(seen) == [("pixel", "sale", "ok")]
    assert (went_through(seen, None), told(seen)) == (True, {})


def test_a_page_with_nothing(brand: Brand, page: Any) -> None:
    seen = watch(page, brand.page("/empty", head=""))
    assert (seen.calls, list(told(seen)), went_through(seen, None)) == ([], ["tag"], False)


def test_the_tag_twice(brand: Brand, page: Any) -> None:
    seen = watch(page, brand.page("/twice", head=brand.head() * 2))
    assert told(seen) == {"tag": ["2 times on the page"]}


def test_the_wrong_program(brand: Brand, page: Any) -> None:
    seen = watch(page, brand.page("/thanks", convert(**ORDER)))
    assert not went_through(seen, "another")
    assert told(seen, "another") == {"program": [f"reports go to {brand.code}"]}
    head = brand.head().replace(brand.code, "nobody")
    seen = watch(page.context.new_page(), brand.page("/nobody", convert(**ORDER), head=head))
    assert not went_through(seen, None)
    assert "collect conversion sale" in told(seen)


@pytest.mark.parametrize("directive", ["script-src 'unsafe-inline'", "connect-src 'none'"])
def test_a_policy_in_the_way(brand: Brand, page: Any, directive: str) -> None:
    policy = {"Content-Security-Policy": f"{directive}; img-src 'none'"}
    html = Page(f"<!doctype html>{brand.head()}<body>{convert(**ORDER)}", policy)
    brand.site.pages["/policy"] = html
    seen = watch(page, f"{brand.site.address}/policy")
    assert not went_through(seen, None)
    assert "csp" in told(seen)


def test_a_page_of_an_origin_that_may_not_report(brand: Brand, page: Any) -> None:
    address = brand.page("/thanks", convert(**ORDER)).replace("shop.test", "elsewhere.test")
    seen = watch(page, address)
    assert told(seen)["collect conversion sale"] == ["origin_not_allowed"]
    assert "cors" in told(seen)


def test_a_blocker_in_the_way(brand: Brand, page: Any) -> None:
    page.route("**/tag.js", lambda route: route.abort("blockedbyclient"))
    seen = watch(page, brand.page("/thanks", convert(**ORDER)))
    assert outcomes(seen) == [("tag", "", "blocked")]
    faults = list(findings(seen, None))
    assert any("A blocker stopped it" in each.mend for each in faults)


def test_a_secure_page_with_an_insecure_tracking_host(brand: Brand, page: Any) -> None:
    html = f"<!doctype html>{brand.head(OTHER)}<body>{convert(**ORDER)}"
    page.route(
        "https://secure.test/**",
        lambda route: route.fulfill(status=200, content_type="text/html", body=html),
    )
    seen = watch(page, "https://secure.test/thanks")
    assert not went_through(seen, None)
    assert "mixed" in told(seen)


def test_consent_that_is_denied(brand: Brand, page: Any) -> None:
    head = brand.head().replace("<script data", '<script data-consent="denied" data')
    seen = watch(page, brand.page("/denied", convert(**ORDER), head=head))
    assert any(each.part == "consent" for each in findings(seen, None))
    assert seen.cookies == []


def test_a_browser_that_asks_not_to_be_tracked(brand: Brand, page: Any) -> None:
    page.add_init_script(
        "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {get: () => true})"
    )
    seen = watch(page, brand.page("/gpc", convert(**ORDER)))
    (found,) = [each for each in findings(seen, None) if each.part == "consent"]
    assert "Global Privacy Control" in found.seen


def test_a_tracking_host_nobody_is_at(brand: Brand, page: Any) -> None:
    head = brand.head(base="http://go.shop.test:9")
    seen = watch(page, brand.page("/gone", convert(**ORDER), head=head))
    assert not went_through(seen, None)
    assert [each.outcome for each in seen.calls] == ["blocked"]


def test_without_the_browsers_driver_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
    with pytest.raises(HeadwaterError, match="pip install playwright"):
        run_check_page("http://127.0.0.1:9/", None, as_json=False)


def test_the_command_opens_a_browser_of_its_own(
    brand: Brand, page: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # The driver runs once a process, and here it does already: the command's part is this page.
    monkeypatch.setattr(check_page, "_visited", lambda url: watch(page, url))
    address = brand.page("/thanks", convert(**ORDER))
    assert run_check_page(address, brand.code, as_json=False) == 0
    text = capsys.readouterr().out
    assert "collect conversion sale" in text
    assert "A call went through." in text
    page.unroute_all()
    monkeypatch.setattr(check_page, "_visited", lambda url: watch(page.context.new_page(), url))
    assert run_check_page(brand.page("/empty", head=""), None, as_json=True) == 1
    printed = json.loads(capsys.readouterr().out)
    assert (printed["ok"], printed["calls"]) == (False, [])
    assert printed["findings"][0]["part"] == "tag"


def test_the_command_by_itself(brand: Brand) -> None:
    pixel = PIXEL.format(host=f"http://127.0.0.1:{brand.system.settings.port}", program=brand.code)
    brand.page("/thanks", pixel, head="")
    command = [sys.executable, "-m", "headwater", "check-page", "--json"]
    address = f"http://127.0.0.1:{brand.site.port}/thanks"
    done = subprocess.run([*command, address], capture_output=True, text=True, check=False)
    assert (done.returncode, json.loads(done.stdout)["ok"]) == (0, True), done.stderr
    gone = subprocess.run(
        [*command, "http://127.0.0.1:9/"], capture_output=True, text=True, check=False
    )
    assert (gone.returncode, gone.stdout) == (1, "")
    assert "headwater: the page could not be opened" in gone.stderr
