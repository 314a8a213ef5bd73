"""Exchange rates of a brand, and what a program says of money beside its terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from headwater import clock, ids
from headwater.ledger import audit
from headwater.ledger.engine import Ledger
from headwater.ledger.objects import (
    Origin,
    Reference,
    Saved,
    earlier,
    find,
    insert,
    require,
    saved,
)
from headwater.ledger.outbox import Change, announce, take_revisions
from headwater.ledger.schema import brands, exchange_rates, money_settings, programs

Row = Mapping[str, Any]


def create_rate(
    ledger: Ledger,
    origin: Origin,
    *,
    brand: Reference,
    columns: Mapping[str, Any],
    fraction: tuple[int, int],
) -> Saved:
    """A rate of a brand; `fraction` is what its text `rate` means.

    A rate is never changed: the next one of its pair takes its place. Raises RequestRefused for
    an unknown brand, or another request's external id.
    """
    with ledger.write() as connection:
        revision = take_revisions(connection)
        owner = require(connection, brands, brand, "brand_id")
        of_brand = exchange_rates.c.brand_id == owner["id"]
        before = earlier(connection, exchange_rates, origin, of_brand)
        if before:
            return before
        new = {**columns, "brand_id": owner["id"]}
        row = insert(connection, exchange_rates, revision, origin, new)
        change = Change(
            "exchange_rate", row["id"], owner["id"], rate_value(row, fraction), None, False
        )
        return saved(connection, revision, row, change, created=True)


def rate_value(row: Row, fraction: tuple[int, int]) -> dict[str, Any]:
    """The control value of a rate."""
    names = ("currency_from", "currency_to", "source", "date", "from_ms")
    value = {name: row[name] for name in names}
    return {**value, "numerator": fraction[0], "denominator": fraction[1]}


def rate_page(ledger: Ledger, brand: int | None, *, after: int, count: int) -> list[dict[str, Any]]:
    """Rates with numbers above `after`, of one brand if named."""
    columns = exchange_rates.c
    statement = sa.select(exchange_rates).where(columns.id > after).order_by(columns.id)
    if brand is not None:
        statement = statement.where(columns.brand_id == brand)
    with ledger.read() as connection:
        return [dict(row) for row in connection.execute(statement.limit(count)).mappings()]


def rates_of_pair(
    ledger: Ledger, brand: int, currencies: tuple[str, str], at_ms: int
) -> list[dict[str, Any]]:
    """The newest rates between two currencies that were in force by a time, of either way one."""
    columns = exchange_rates.c
    found = []
    with ledger.read() as connection:
        for pair in (currencies, currencies[::-1]):
            row = (
                connection.execute(
                    sa.select(exchange_rates)
                    .where(
                        columns.brand_id == brand,
                        columns.currency_from == pair[0],
                        columns.currency_to == pair[1],
                        columns.from_ms <= at_ms,
                    )
                    .order_by(columns.from_ms.desc(), columns.id.desc())
                    .limit(1)
                )
                .mappings()
                .first()
            )
            if row is not None:
                found.append(dict(row))
    return found


def reversal_reasons(ledger: Ledger, program: int) -> list[str]:
    """A program's own reasons of reversals."""
    with ledger.read() as connection:
        return _reasons(connection, program)


def _reasons(connection: sa.Connection, program: int) -> list[str]:
    columns = money_settings.c
    found: list[str] | None = connection.scalar(
        sa.select(columns.reversal_reasons).where(columns.program_id == program)
    )
    return found or []


def put_reversal_reasons(ledger: Ledger, program: Reference, reasons: list[str]) -> Saved | None:
    """Put a program's own reasons in place of those it has; None: no such program."""
    with ledger.write() as connection:
        revision = take_revisions(connection)
        row = find(connection, programs, program)
        if row is None:
            return None
        before = _reasons(connection, row["id"])
        columns = {
            "reversal_reasons": reasons,
            "revision": revision,
            "updated_ms": clock.now_ms(),
        }
        of_program = money_settings.c.program_id == row["id"]
        changed = connection.execute(sa.update(money_settings).where(of_program).values(columns))
        if not changed.rowcount:
            connection.execute(sa.insert(money_settings).values(program_id=row["id"], **columns))
        value = {"reversal_reasons": reasons}
        change = Change("money_settings", row["id"], row["brand_id"], value, None, False)
        announce(connection, revision, [change])
        told = {"member": "reversal_reasons", "before": before, "after": reasons}
        program_id = ids.object_text("prg", row["id"])
        audit.note(connection, [("money_settings", program_id, "changed", [told])])
        return Saved(row, created=False, revision=revision)
