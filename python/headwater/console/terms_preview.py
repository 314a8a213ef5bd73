"""What an order would pay, by terms that are in force or by ones that are only thought of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from headwater import clock, ids
from headwater.book.calendar import lock_at_ms, pay_at_ms
from headwater.book.money import Rate, rate_between, rate_parts
from headwater.book.payout import ItemFacts, OrderFacts, Payout, click_micros, payout
from headwater.book.terms import GROUP_FIELDS, Terms, read_terms
from headwater.book.tiers import Progress, measure
from headwater.console import fields, money_texts, terms_values
from headwater.console.answers import Answer
from headwater.console.bodies import refused
from headwater.console.catalog import program_row
from headwater.console.context import Console, Request
from headwater.console.terms_shapes import PreviewIn
from headwater.console.terms_views import Preview, PreviewLine
from headwater.errors import FieldFault
from headwater.ledger import queries, rates
from headwater.ledger import terms as store
from headwater.ledger.objects import refused_field
from headwater.ledger.schema import partners
from headwater.ledger.terms import TEMPLATE, Owner

Row = Mapping[str, Any]
_NONE: Final = "no_terms"


async def preview_terms(console: Console, request: Request) -> Answer:
    """Nothing of it is kept. Caps are not looked at: what is left of them is another's order's."""
    body: PreviewIn = request.body
    program = await program_row(console, request)
    at_ms = clock.now_ms() if body.at is None else clock.parse_iso_ms(body.at)
    partner = await _partner(console, body)
    owner = await console.run(store.owner_of, console.ledger, program, partner)
    event_type = terms_values.event_type_of(owner.event_types, body.event)
    if event_type is None:
        raise refused_field("event", "unknown_event_type", "not an event type of the program")
    row, terms = _terms(owner, body, at_ms)
    currency = body.currency or program["currency"]
    facts = _facts(body, partner, currency)
    if terms is None:
        return Answer(_nothing(facts))
    kind = next(each["kind"] for each in owner.event_types if each["id"] == event_type)
    if kind == "click":
        paid = _click(terms, event_type, facts)
    else:
        rate = await _rate(console, program["brand_id"], currency, terms.currency, at_ms)
        paid = _order(terms, event_type, facts, rate, body.month_so_far)
    zone = program["timezone"]
    lock_ms = lock_at_ms(at_ms, terms.locking, zone)
    return Answer(
        Preview(
            terms_id=None if row is None else ids.object_text("trm", row["id"]),
            version=None if row is None else row["version"],
            currency=terms.currency,
            order_amount=money_texts.text(paid.order_minor, terms.currency),
            payout=money_texts.micros_text(_micros(kind, paid), terms.currency),
            rule=paid.rule,
            reason=paid.refused,
            lines=[
                PreviewLine(
                    item=line.item,
                    rule=line.rule,
                    payout=money_texts.text(line.minor, terms.currency),
                )
                for line in paid.lines
            ],
            lock_at=clock.iso_ms(lock_ms),
            pay_at=clock.iso_ms(pay_at_ms(lock_ms, terms.payment, zone)),
            warnings=request.warnings,
        )
    )


def _micros(kind: str, paid: Payout) -> int:
    """Clicks add up below a minor unit, orders are paid in whole ones."""
    return paid.total_micros if kind == "click" else paid.total_minor * 1_000_000


async def _partner(console: Console, body: PreviewIn) -> int:
    if body.partner_id is None:
        return TEMPLATE
    reference = fields.parse_reference("prt", body.partner_id)
    row = await console.run(queries.object_row, console.ledger, partners, reference)
    if row is None:
        raise refused_field("partner_id", "unknown_partner", "no such partner")
    return int(row["id"])


def _terms(owner: Owner, body: PreviewIn, at_ms: int) -> tuple[Row | None, Terms | None]:
    """The terms to go by, with their row if they have one."""
    if body.terms is not None:
        return None, read_terms(0, terms_values.value_of(owner, body.terms, at_ms))
    row = terms_values.in_force(owner.own, at_ms) or terms_values.in_force(owner.template, at_ms)
    return row, None if row is None else read_terms(row["id"], row["value"])


def _facts(body: PreviewIn, partner: int, currency: str) -> OrderFacts:
    if set(body.fields) - GROUP_FIELDS:
        detail = f"there are {', '.join(sorted(GROUP_FIELDS))}"
        raise refused([FieldFault("fields", "invalid", detail)])
    items = tuple(
        ItemFacts(
            item.sku,
            item.category,
            item.quantity,
            None
            if item.subtotal is None
            else money_texts.minor(f"items.{number}.subtotal", item.subtotal, currency),
        )
        for number, item in enumerate(body.items)
    )
    known: dict[str, str | None] = {
        "partner": ids.object_text("prt", partner) if partner else None,
        "customer_status": body.customer_status,
        "country": body.country,
        "promo_code": body.promo_code,
    }
    return OrderFacts(
        money_texts.minor("amount", body.amount, currency),
        currency,
        items,
        {**body.fields, **{name: value for name, value in known.items() if value is not None}},
    )


async def _rate(
    console: Console, brand: int, currency_from: str, currency_to: str, at_ms: int
) -> Rate | None:
    rows = await console.run(
        rates.rates_of_pair, console.ledger, brand, (currency_from, currency_to), at_ms
    )
    known = {}
    for row in rows:
        pair = (row["currency_from"], row["currency_to"])
        known[pair] = Rate(*pair, *rate_parts(row["rate"]), row["source"], row["date"])
    return rate_between(known, currency_from, currency_to)


def _order(
    terms: Terms, event_type: int, facts: OrderFacts, rate: Rate | None, so_far: int
) -> Payout:
    tiers = terms.event(event_type).tiers
    more = 0
    if tiers is not None:
        revenue_minor = 0 if rate is None else rate.convert(facts.amount_minor)
        more = measure(tiers.basis, revenue_minor)
    return payout(terms, event_type, facts, rate, Progress(so_far, so_far + more))


def _click(terms: Terms, event_type: int, facts: OrderFacts) -> Payout:
    micros = click_micros(terms, event_type, facts.fields)
    return Payout((), micros, 0, 0, "clicks")


def _nothing(facts: OrderFacts) -> Preview:
    return Preview(
        terms_id=None,
        version=None,
        currency=facts.currency,
        order_amount=money_texts.text(facts.amount_minor, facts.currency),
        payout=money_texts.text(0, facts.currency),
        rule=_NONE,
        reason=None,
        lines=[],
        lock_at=None,
        pay_at=None,
    )
