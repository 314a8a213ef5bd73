"""What payout groups may ask of an order or a click, read out of its records when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from headwater import limits
from headwater.book.left import Left
from headwater.book.payout import ItemFacts, OrderFacts
from headwater.book.store import Store
from headwater.model.book import Conversion, kept_text
from headwater.model.devices import device_of
from headwater.model.records import ClickBody, Client, ConversionBody, decode

_SUB_IDS = frozenset(f"sub{number}" for number in range(1, 11))


class Fields(Mapping[str, str | None]):
    """Values of `TEXT_FIELDS`. The records are decoded only when a group asks for something."""

    def __init__(
        self, store: Store, partner: int, order: bytes | None, click_id: bytes | None
    ) -> None:
        self._store, self._partner, self._order, self._click = store, partner, order, click_id
        self._found: dict[str, str | None] | None = None

    def __getitem__(self, name: str) -> str | None:
        if self._found is None:
            self._found = self._read()
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found or ())

    def __len__(self) -> int:
        return len(self._found or ())

    def _read(self) -> dict[str, str | None]:
        found: dict[str, str | None] = {"partner": f"prt_{self._partner}"}
        record = None if self._click is None else self._store.click_record(self._click)
        if record:
            click = click_body(record)
            found.update((name, click.params[name]) for name in _SUB_IDS & click.params.keys())
            found["country"] = country(click.client)
            found["device"] = device(click.client)
        if self._order:
            order = order_body(self._order)
            found["customer_status"] = order.customer_status
            found["promo_code"] = order.promo_code
            found["country"] = country(order.client) or found.get("country")
            found["device"] = device(order.client) or found.get("device")
        return found


def country(client: Client | list[Any]) -> str | None:
    """The country of a record's client, as the address lists have it."""
    network = Client._make(client).network
    return None if network is None else network[3]


def device(client: Client | list[Any]) -> str | None:
    """The kind of device of a record's client; None where its user agent is not known."""
    agent = Client._make(client).user_agent
    return device_of(agent) if agent else None


def click_body(record: bytes) -> ClickBody:
    return ClickBody._make(decode(record).body)


def order_body(record: bytes) -> ConversionBody:
    return ConversionBody._make(decode(record).body)


def items_of(record: bytes) -> tuple[ItemFacts, ...]:
    """The items a report names, as far as rows can hold them."""
    if not record:
        return ()
    most = limits.ITEM_QUANTITY_MAX
    return tuple(
        ItemFacts(_kept(sku), _kept(category), min(quantity, most), subtotal_minor)
        for sku, _name, category, quantity, subtotal_minor in order_body(record).items
    )


def _kept(text: str | None) -> str | None:
    return None if text is None else kept_text(text)


def facts_of(store: Store, conversion: Conversion, partner: int, left: Left) -> OrderFacts:
    """What is known of what is left of an order, for one of its partners."""
    clicks = [click for owner, click, _share in conversion.credits if owner == partner]
    click_id = next((click for click in clicks if click is not None), None)
    fields = Fields(store, partner, conversion.record, click_id)
    return OrderFacts(left.amount_minor, conversion.currency, left.items, fields)
