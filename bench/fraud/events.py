"""Events of the bench in their wire form, and what it remembers of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from headwater.model.records import (
    NO_CLIENT,
    ClickBody,
    Client,
    ConversionBody,
    Flag,
    Identifiers,
    IdentifierType,
    Kind,
    Money,
    PageViewBody,
    Request,
)
from headwater.ops.evaluate_feed import PROGRAM, digest, event_id, network, record

BEGIN_MS: Final = 1_790_035_200_000
"""A midnight, UTC."""
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
INJECTED: Final = 1_000_000_000
"""Numbers from here on are those of injected events."""
SALE: Final = 1
LEAD: Final = 2
KINDS: Final = ("sale", "lead")
CHECKOUT: Final = "/checkout"


class Event(NamedTuple):
    """One record of the log, in order of time."""

    at_ms: int
    number: int
    raw: bytes


class Visit(NamedTuple):
    """A click as an attacker may copy or exploit it."""

    at_ms: int
    event: bytes
    client: Client
    identifiers: Identifiers
    address: str
    partner: int
    link: int
    sub: str


def visitor(name: str) -> Identifiers:
    """The identifier of a cookie."""
    return ((int(IdentifierType.VISITOR), digest(name)),)


def email(name: str) -> Identifiers:
    return ((int(IdentifierType.EMAIL), digest(name)),)


def prefix_of(address: str) -> str:
    """The /24 of an address written as four numbers."""
    return address.rpartition(".")[0] + ".0/24"


def caller(
    address: str,
    at_ms: int,
    agent: str | None,
    referrer: str | None = None,
    request: Request | None = None,
    flags: int = 0,
) -> Client:
    """What the edge keeps of a caller."""
    known = network(address, at_ms, flags)
    return Client(prefix_of(address), agent, referrer, known, request)


class Maker:
    """Makes events; their numbers follow each other from a first one on."""

    def __init__(self, first: int) -> None:
        self._number = first
        self.events: list[Event] = []

    def _make(self, kind: Kind, at_ms: int, body: tuple[object, ...]) -> bytes:
        event = event_id(at_ms, self._number)
        self.events.append(Event(at_ms, self._number, record(kind, event, at_ms, body)))
        self._number += 1
        return event

    def click(
        self,
        at_ms: int,
        client: Client,
        identifiers: Identifiers,
        *,
        partner: int,
        link: int,
        sub: str,
        flags: int = 0,
        params: Mapping[str, str] | None = None,
    ) -> bytes:
        """A click; its id."""
        known = {"sub1": sub, **(params or {})}
        body = ClickBody(PROGRAM, partner, link, flags, identifiers, known, client)
        return self._make(Kind.CLICK, at_ms, body)

    def page_view(self, at_ms: int, path: str, identifiers: Identifiers) -> bytes:
        """A view of one of the brand's pages, told by its tag."""
        url = f"https://shop.example{path}"
        return self._make(
            Kind.PAGE_VIEW, at_ms, PageViewBody(PROGRAM, url, 0, identifiers, NO_CLIENT)
        )

    def conversion(
        self,
        at_ms: int,
        identifiers: Identifiers,
        *,
        click_id: bytes | None = None,
        kind: int = SALE,
        client: Client = NO_CLIENT,
        is_disposable: bool = False,
        started_ms: int | None = None,
    ) -> bytes:
        """A conversion as the brand's server reports it; its id."""
        flags = int(Flag.EMAIL_LOOKED_UP) if kind == LEAD else 0
        flags |= int(Flag.DISPOSABLE_EMAIL) if is_disposable else 0
        money = Money(5000, "EUR", None, None, None)
        body = ConversionBody(
            *(event_id(at_ms, self._number), PROGRAM, kind, f"order {self._number}", "main"),
            flags=flags,
            click_id=click_id,
            identifiers=identifiers,
            money=money,
            promo_code=None,
            customer_status=None,
            items=(),
            params={},
            client=client,
            refused=None,
            started_ms=started_ms,
        )
        return self._make(Kind.CONVERSION, at_ms, body)
