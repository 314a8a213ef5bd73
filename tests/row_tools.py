"""A program in a whole system, for tests of what the features promise row by row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from headwater import clock
from system_tools import Answer, System

HOUR_S = 3600


class Shop:
    """A brand with one program, two partners with a link each, and a key for its server."""

    def __init__(self, system: System, code: str, **settings: Any) -> None:
        self.system, self.code = system, code
        console = system.console
        self.brand = console.post("/v1/brands", {"name": code})["id"]
        program = {
            "brand_id": self.brand,
            "code": code,
            "destination_url": "https://shop.example/landing",
            "deep_link_hosts": ["shop.example"],
            "currency": "EUR",
            **settings,
        }
        self.program = console.post("/v1/programs", program)["id"]
        for name, kind in (("sale", "sale"), ("lead", "lead"), ("trial", "custom")):
            self.event_type(name, kind)
        self.partners: list[str] = []
        self.links: list[dict[str, Any]] = []
        for name in ("one", "two"):
            partner = console.post("/v1/partners", {"name": name})["id"]
            enrolled = console.put(f"/v1/programs/{self.program}/partners/{partner}", {})
            self.partners.append(partner)
            self.links.append(enrolled["default_link"])
        key = {"scopes": ["events"], "brand_id": self.brand}
        self.key = console.post("/v1/keys", key)["key"]

    def event_type(self, code: str, kind: str, **settings: Any) -> None:
        body = {"code": code, "kind": kind, **settings}
        self.system.console.post(f"/v1/programs/{self.program}/event-types", body)

    def clicked(self, partner: int = 0, **query: str) -> str:
        """A click through a partner's link; the click id that reaches the landing page."""
        path = f"/c/{self.links[partner]['code']}?{urlencode(query)}"
        answer = self.system.edge("GET", path)
        assert answer.status == 302
        return parse_qs(urlsplit(answer.headers["Location"]).query)["click_id"][0]

    def post(self, name: str, **body: Any) -> Answer:
        body = {"program": self.code, **body}
        return self.system.edge("POST", f"/v1/{name}", body, self.key)

    def told_click(self, partner: int = 0, **body: Any) -> str:
        """A click the brand's server reports."""
        answer = self.post("clicks", partner=self.partners[partner], **body)
        assert answer.status == 201, answer.body
        return str(answer.json["click_id"])

    def convert(self, order_id: str, event: str = "sale", **body: Any) -> dict[str, Any]:
        """A conversion's decision."""
        answer = self.post("conversions", event=event, order_id=order_id, **body)
        assert answer.status in (200, 201, 202), answer.body
        return self.system.decision(answer, self.key)

    def by_order(self, order_id: str) -> dict[str, Any]:
        """The decision of a sale, once there is one."""
        query = urlencode({"program": self.code, "event": "sale", "order_id": order_id})
        return self.system.decided(f"/v1/conversions?{query}", self.key)

    def credited(self, decision: dict[str, Any]) -> list[int]:
        """Who earned: the places of partners."""
        return [self.partners.index(credit["partner_id"]) for credit in decision["credits"]]

    def explained(self, decision: dict[str, Any]) -> Any:
        path = f"/v1/conversions/{decision['conversion_id']}/explain"
        return self.system.console.get(path)


def ago(seconds: int, milliseconds: int = 0) -> str:
    """A time before now."""
    return clock.iso_ms(clock.now_ms() - seconds * 1000 - milliseconds)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One system for all tests of a module; each makes a shop of its own."""
    with System(tmp_path_factory.mktemp("system"), edges=1) as running:
        yield running
