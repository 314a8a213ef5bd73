"""Partner pixels in tests: actions, what reports say of them, and a store of dicts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from headwater.model.pixels import (
    MAIN,
    NEVER_MS,
    NOT_FOR_SALES,
    POSTBACK,
    Earned,
    Firing,
    Lead,
    Pixel,
    PixelDecision,
    Told,
)
from headwater.model.records import (
    NO_CLIENT,
    ClickBody,
    Client,
    ConversionBody,
    Item,
    Money,
    Network,
    Source,
)

T0 = 1_790_000_000_000
CLICK = bytes(range(16))
URL = "https://partner.example/p?id={click_id}"


def pixel(number: int = 1, **changed: Any) -> Pixel:
    made = Pixel(number, 1, 0, "cpa", MAIN, POSTBACK, URL, None, 0)
    return made._replace(**changed)


def lead_pixel(number: int = 1, rule: str = NOT_FOR_SALES, **changed: Any) -> Pixel:
    return pixel(number, commission="cpl", rule=rule, delay_ms=1_200_000, **changed)


def earned(action: int = 1, **changed: Any) -> Earned:
    made = Earned(
        action_id=action.to_bytes(16, "big"),
        brand=1,
        program=1,
        program_code="spring",
        partner=1,
        event_type=3,
        event_code="sale",
        event_kind="sale",
        conversion_id=action.to_bytes(16, "little"),
        click_id=CLICK,
        order_id="A/1 & more",
        line="main",
        state="pending",
        is_held=False,
        is_test=False,
        is_over_cap=False,
        tracked_ms=T0,
        currency="EUR",
        order_minor=1999,
        payout_currency="USD",
        payout_minor=250,
    )
    return made._replace(**changed)


def a_lead(action: int = 1, **changed: Any) -> Earned:
    return earned(action, event_kind="lead", event_code="signup", order_id=None, **changed)


def told(
    *,
    source: int = Source.S2S,
    identifiers: tuple[tuple[int, bytes], ...] = (),
    click_id: bytes | None = None,
    params: dict[str, str] | None = None,
    click_params: dict[str, str] | None = None,
    **changed: Any,
) -> Told:
    network = Network(bytes(8), None, 0, "NL", None)
    conversion = ConversionBody(
        bytes(16),
        1,
        3,
        "A/1 & more",
        "main",
        0,
        click_id,
        identifiers,
        Money(1999, "EUR", 100, 300, 200),
        "SPRING10",
        None,
        (Item("sku-1", "Shoes", "shoes", 2, 1000), Item("sku-2", None, None, 1, 499)),
        params or {},
        NO_CLIENT,
        None,
    )
    click = ClickBody(1, 1, 1, 0, (), click_params or {}, Client(None, None, None, network, None))
    made = Told(T0, int(source), False, True, conversion, click, T0 - 1000)
    return made._replace(**changed)


def everybody(_program: int, _partner: int) -> bool:
    """Each partner takes part in each program."""
    return True


class DictStore:
    """The plain reading of what a store is."""

    def __init__(self, *pixels: Pixel) -> None:
        self.pixels = {each.number: each for each in pixels}
        self.firings: dict[bytes, Firing] = {}
        self.decisions: dict[tuple[bytes, int], PixelDecision] = {}
        self.leads: dict[bytes, Lead] = {}

    def put_pixel(self, pixel: Pixel, revision: int) -> None:
        self.pixels[pixel.number] = pixel

    def drop_pixel(self, number: int) -> None:
        self.pixels.pop(number, None)

    def pixels_of(self, partner: int) -> Sequence[Pixel]:
        return [each for each in self.pixels.values() if each.partner == partner]

    def add_firing(self, firing: Firing) -> None:
        self.firings.setdefault(firing.event_id, firing)

    def put_decision(self, decision: PixelDecision) -> None:
        self.decisions[decision.action_id, decision.pixel] = decision

    def decisions_of(self, action_id: bytes) -> Sequence[PixelDecision]:
        return [each for key, each in sorted(self.decisions.items()) if key[0] == action_id]

    def add_lead(self, lead: Lead) -> None:
        if lead.firing.event_id not in self.firings:
            self.leads.setdefault(lead.firing.event_id, lead)

    def drop_lead(self, event_id: bytes) -> None:
        self.leads.pop(event_id)

    def park_lead(self, event_id: bytes) -> None:
        self.leads[event_id] = self.leads[event_id]._replace(due_ms=NEVER_MS)

    def _sorted(self) -> list[Lead]:
        return sorted(self.leads.values(), key=lambda lead: (lead.due_ms, lead.firing.event_id))

    def leads_due(self, until_ms: int, count: int) -> Sequence[Lead]:
        return [lead for lead in self._sorted() if lead.due_ms <= until_ms][:count]

    def leads_of_action(self, action_id: bytes) -> Sequence[Lead]:
        return [lead for lead in self._sorted() if lead.firing.action_id == action_id]

    def leads_of_visitor(
        self,
        brand: int,
        program: int,
        order_id: str | None,
        identifiers: Iterable[tuple[int, bytes]],
        count: int,
    ) -> Sequence[Lead]:
        named = set(identifiers)
        found = [
            lead
            for lead in self._sorted()
            if (lead.firing.brand, lead.firing.program) == (brand, program)
            and (
                (order_id is not None and lead.order_id == order_id)
                or named & set(lead.identifiers)
            )
        ]
        return found[:count]

    def forget_in_leads(self, brand: int, identifiers: Iterable[tuple[int, bytes]]) -> None:
        gone = set(identifiers)
        for event_id, lead in self.leads.items():
            if lead.firing.brand == brand:
                kept = tuple(each for each in lead.identifiers if each not in gone)
                self.leads[event_id] = lead._replace(identifiers=kept)

    @property
    def codes(self) -> dict[int, str]:
        """By pixel, of all actions."""
        return {number: each.code for (_, number), each in sorted(self.decisions.items())}

    @property
    def urls(self) -> list[str]:
        return [each.url for each in self.firings.values()]
