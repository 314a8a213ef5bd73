"""`headwater snippet`: what is printed for a program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from headwater import cli
from headwater.config import Config
from headwater.errors import HeadwaterError
from headwater.ops.client import ConsoleClient
from headwater.ops.snippet import run_snippet

PROGRAM = {
    "id": "prg_1",
    "brand_id": "brd_1",
    "code": "acme",
    "currency": "EUR",
    "click_param": "click_id",
    "consent_default": "granted",
}


class FakeConsole:
    """The console's lists, two pages of each where there are two objects."""

    def __init__(self, **changes: Any) -> None:
        self.found = {**PROGRAM, **changes.pop("program", {})}
        self.domains = changes.pop("domains", [])
        self.event_types = changes.pop("event_types", ["lead", "sale"])

    def program(self, code: str) -> dict[str, Any]:
        if code != self.found["code"]:
            raise HeadwaterError("no program has this code")
        return self.found

    def get(self, path: str) -> Any:
        is_domains = path.startswith("/v1/domains")
        listed = (
            [{"brand_id": brand, "domain": domain} for brand, domain in self.domains]
            if is_domains
            else [{"kind": kind, "code": f"the-{kind}"} for kind in self.event_types]
        )
        at = int(path.partition("&cursor=")[2] or 0)
        following = str(at + 1) if at + 1 < len(listed) else None
        return {"items": listed[at : at + 1], "next_cursor": following}


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(kind: str = "tag", **changes: Any) -> str:
        console = FakeConsole(**changes)
        monkeypatch.setattr(ConsoleClient, "of", lambda _settings: console)
        return run_snippet(Config(), program="acme", kind=kind)

    return run


def test_the_tag_and_the_call_of_the_confirmation_page(printed: Any) -> None:
    text = printed()
    assert '<script data-program="acme">' in text
    assert 'e.src = "http://127.0.0.1:8080/tag.js"' in text
    assert 'headwater("trackConversion", "the-sale", {' in text
    assert '<noscript><img src="http://127.0.0.1:8080/px.gif?program=acme&amp;' in text
    assert "{{" not in text


def test_the_brands_own_domain_is_used(printed: Any) -> None:
    domains = [("brd_2", "go.other.example"), ("brd_1", "go.acme.example")]
    text = printed(domains=domains)
    assert 'e.src = "https://go.acme.example/tag.js"' in text
    assert "other" not in text


def test_the_tag_is_told_what_differs(printed: Any) -> None:
    text = printed(program={"click_param": "hwc", "consent_default": "denied"})
    assert '<script data-program="acme" data-click-param="hwc" data-consent="denied">' in text


def test_the_pixel_is_an_image_and_nothing_else(printed: Any) -> None:
    text = printed("pixel", event_types=["lead"])
    assert "<script" not in text
    assert "event=the-lead&amp;order_id=ORDER_ID&amp;amount=AMOUNT" in text
    assert text.count("<img") == 1


def test_i22_the_custom_pixel_for_shopify(printed: Any) -> None:
    text = printed("shopify", program={"click_param": "hwc"}, event_types=[])
    first = next(line for line in text.splitlines() if line.startswith("const HEADWATER"))
    assert first == (
        'const HEADWATER = { address: "http://127.0.0.1:8080", program: "acme", '
        'event: "sale", param: "hwc" };'
    )


def test_the_command_refuses_what_it_cannot_print(tmp_path: Path) -> None:
    runner = CliRunner()
    folder = ["--data", str(tmp_path)]
    odd = runner.invoke(cli.app, ["snippet", "--program", "acme", "--kind", "flash", *folder])
    assert (odd.exit_code, "one of tag, pixel, shopify, shopify-theme" in odd.output) == (2, True)
    new = runner.invoke(cli.app, ["snippet", "--program", "acme", *folder])
    assert (new.exit_code, "no admin key" in new.output) == (1, True)
