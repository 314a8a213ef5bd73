"""What a pixel's definition has to be: every fault at once, and what is only warned of."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from headwater import limits
from headwater.book.pixel_check import check_pixel
from headwater.model.outbound import Rules
from headwater.model.pixels import masked

HTTPS = Rules()
POSTBACK = {
    "program": 3,
    "commission": "cpa",
    "type": "postback",
    "template": "https://partner.example/p?id={click_id}",
}


def columns(**changed: Any) -> dict[str, Any]:
    found = check_pixel({**POSTBACK, **changed}, Rules())
    assert not found.faults
    return found.columns


def faults(rules: Rules = HTTPS, **changed: Any) -> list[str]:
    return [fault.field for fault in check_pixel({**POSTBACK, **changed}, rules).faults]


def test_a_plain_postback_is_taken() -> None:
    assert columns() == {
        "program_number": 3,
        "commission": "cpa",
        "slot": "main",
        "type": "postback",
        "template": "https://partner.example/p?id={click_id}",
        "rule": None,
        "delay_ms": 0,
        "test_url": None,
    }


def test_k5_no_program_is_every_program() -> None:
    assert columns(program=None)["program_number"] == 0
    assert columns(program="*")["program_number"] == 0


def test_k7_there_are_three_commissions() -> None:
    for commission in ("cpa", "cpc", "cpl"):
        assert columns(commission=commission)["commission"] == commission
    for commission in ("CPA", "cps", None, 1):
        assert faults(commission=commission) == ["commission"]


def test_k8_a_product_is_for_cpa_alone() -> None:
    assert columns(product_id="A")["slot"] == "upsell:A"
    assert columns(product_id="*")["slot"] == "upsell:*"
    assert faults(product_id="A", commission="cpl") == ["product_id"]
    assert faults(product_id="A", commission="cpc") == ["product_id"]
    longest = "a" * limits.PARAMETER_BYTES_MAX
    assert columns(product_id=longest)["slot"] == f"upsell:{longest}"
    for product in ("", " ", 7, longest + "a"):
        assert faults(product_id=product) == ["product_id"]


def test_k10_a_rule_is_for_cpl_alone_and_has_a_default() -> None:
    assert columns(commission="cpl")["rule"] == "do_not_fire_for_sales"
    found = columns(commission="cpl", rule="fire_for_all_partials")
    assert (found["rule"], found["delay_ms"]) == ("fire_for_all_partials", 0)
    assert faults(rule="do_not_fire_for_sales") == ["rule"]
    assert faults(rule="fire_for_all_partials", delay_seconds=1200, commission="cpc") == [
        "rule",
        "delay_seconds",
    ]
    assert faults(commission="cpl", rule="never") == ["rule"]


def test_k11_the_delay_is_twenty_minutes_at_least() -> None:
    assert columns(commission="cpl")["delay_ms"] == limits.LEAD_DELAY_MS_MIN == 20 * 60 * 1000
    least, most = limits.LEAD_DELAY_MS_MIN // 1000, limits.LEAD_DELAY_MS_MAX // 1000
    for seconds in (least, most):
        assert columns(commission="cpl", delay_seconds=seconds)["delay_ms"] == seconds * 1000
    for seconds in (least - 1, most + 1, 0, True, "1200", 1200.0):
        assert faults(commission="cpl", delay_seconds=seconds) == ["delay_seconds"]
    both = {"commission": "cpl", "rule": "fire_for_all_partials", "delay_seconds": 1200}
    assert faults(**both) == ["delay_seconds"]


def test_k13_a_pixel_is_a_postback_an_image_or_an_iframe() -> None:
    assert faults(type="script") == ["type"]
    assert faults(type=None) == ["type"]


@pytest.mark.parametrize("kind", ["image", "iframe"])
@pytest.mark.parametrize("commission", ["cpl", "cpc"])
def test_k17_only_a_postback_can_be_used_with_cpl(kind: str, commission: str) -> None:
    tag = {"image": "<img src='https://a.example/'>", "iframe": "<iframe src='https://a.example/'>"}
    assert faults(type=kind, commission=commission, template=tag[kind]) == ["type"]
    assert faults(type=kind, template=tag[kind]) == []


@pytest.mark.parametrize(
    "template",
    [
        "http://partner.example/",
        "https://{sub1}/",
        "https://{sub1}.partner.example/",
        "https://partner.example{sub1}/",
        "https://partner.example:{sub1}/",
        "https://partner.example:[c1]/",
        "https://[c1]/",
        "{sub1}://partner.example/",
        "{sub1}",
        "//partner.example/",
        "https://user:pass@partner.example/",
        "https://{sub1}@partner.example/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://[::1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://partner.example:6379/",
        "https://partner.example/#a",
        "https://partner.example/ a",
        "javascript:alert(1)",
        "<img src='https://partner.example/'>",
    ],
)
def test_k14_a_postback_is_an_https_url_whose_host_is_written_out(template: str) -> None:
    assert faults(template=template) == ["template"]


@pytest.mark.parametrize(
    "template",
    [
        "https://partner.example",
        "https://partner.example?id={click_id}",
        "https://partner.example/{sub1}/[c1]?{sub2}={sub3}",
        "https://partner.example:8443/?a[]=1&b={x}",
        "https://93.184.216.34/",
    ],
)
def test_k14_macros_may_stand_behind_the_host(template: str) -> None:
    assert faults(template=template) == []


def test_k14_the_source_of_a_tag_is_checked_as_a_postback() -> None:
    for source in ("http://a.example/", "https://127.0.0.1/", "https://{sub1}/", "data:,x"):
        assert faults(type="image", template=f"<img src='{source}'>") == ["template"]
    assert faults(type="image", template="https://a.example/") == ["template"]


def test_k14_http_and_private_networks_are_for_those_who_say_so() -> None:
    assert faults(Rules(http=True), template="http://partner.example/") == []
    private = Rules(http=True, allow=(ipaddress.ip_network("10.0.0.0/8"),))
    assert faults(private, template="http://10.1.2.3:9000/") == []
    assert faults(private, template="http://192.168.1.1/") == ["template"]


def test_k6_a_test_link_is_an_https_url() -> None:
    assert columns(test_url="https://partner.example/test?x=1")["test_url"]
    for url in ("http://partner.example/", "https://127.0.0.1/", 7, "x" * 3000):
        assert faults(test_url=url) == ["test_url"]


def test_a_template_has_a_bound() -> None:
    base = "https://partner.example/?a="
    longest = base + "a" * (limits.PIXEL_TEMPLATE_BYTES_MAX - len(base))
    assert faults(template=longest) == []
    found = check_pixel({**POSTBACK, "template": longest + "a"}, Rules()).faults
    assert [(fault.field, fault.code) for fault in found] == [("template", "value_too_long")]


def test_all_faults_are_told_at_once() -> None:
    assert faults(commission="x", type="y", template="", rule="z", product_id="", test_url=1) == [
        "commission",
        "type",
        "product_id",
        "rule",
        "template",
        "test_url",
    ]


def test_an_unknown_macro_is_warned_of_and_taken() -> None:
    found = check_pixel({**POSTBACK, "template": "https://a.example/?a={what}&b=[that]"}, Rules())
    assert not found.faults
    assert [warning.split()[1] for warning in found.warnings] == ["{what}", "[that]"]
    many = "https://a.example/?" + "&".join(f"{{m{number}}}" for number in range(50))
    found = check_pixel({**POSTBACK, "template": many}, Rules())
    assert len(found.warnings) == limits.WARNINGS_MAX


def test_k21_secrets_in_a_url_are_not_shown() -> None:
    url = "https://a.example/p?id=1&security_token=abc&API_KEY=d&x=e;sig=f&hash=#"
    shown = masked(url)
    assert shown == "https://a.example/p?id=1&security_token=***&API_KEY=***&x=e;sig=***&hash=***#"
    assert masked("https://a.example/p?id=1&order=2") == "https://a.example/p?id=1&order=2"


@pytest.mark.parametrize(
    "name", ["pass", "PIN", "user_pin", "api%5Fk%65y", "%70ass", "cred", "jwt"]
)
def test_k21_however_a_secret_is_named_it_is_not_shown(name: str) -> None:
    assert masked(f"https://a.example/?x=1&{name}=hunter2&y=2") == (
        f"https://a.example/?x=1&{name}=***&y=2"
    )


@pytest.mark.parametrize("name", ["shipping", "spin", "id%3D", "order"])
def test_what_is_no_secret_is_shown(name: str) -> None:
    assert masked(f"https://a.example/?{name}=1") == f"https://a.example/?{name}=1"
