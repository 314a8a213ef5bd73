"""Reports: what is counted and listed over a period."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from headwater.ledger.engine import Ledger
from headwater.ledger.queries import CONVERSION
from headwater.ledger.schema import conversions
from headwater.model.records import Flag

Row = dict[str, Any]
# Written out: an index over a part of the rows serves only a condition that is not a parameter.
_UNATTRIBUTED = sa.text("conversions.status = 'unattributed'")
# Test orders are kept out of reports.
_NO_TEST = conversions.c.flags.bitwise_and(int(Flag.TEST)) == 0


@dataclass(frozen=True, slots=True)
class Period:
    """Accept times from `since_ms` on and below `until_ms`, of one program or brand if named."""

    since_ms: int
    until_ms: int
    program: int | None = None
    brand: int | None = None

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        columns = conversions.c
        found = [columns.accept_ms >= self.since_ms, columns.accept_ms < self.until_ms]
        if self.program is not None:
            found.append(columns.program == self.program)
        if self.brand is not None:
            found.append(columns.brand == self.brand)
        return found


def unattributed_counts(ledger: Ledger, period: Period) -> list[tuple[str | None, int]]:
    """How many conversions of a period have no credit, by reason, the most frequent first."""
    statement = (
        sa.select(conversions.c.reason, sa.func.count().label("count"))
        .where(_UNATTRIBUTED, _NO_TEST, *period.conditions())
        .group_by(conversions.c.reason)
        .order_by(sa.desc("count"), conversions.c.reason)
    )
    with ledger.read() as connection:
        return [(row[0], row[1]) for row in connection.execute(statement)]


def unattributed_page(
    ledger: Ledger, period: Period, *, before: tuple[int, bytes] | None, count: int
) -> list[Row]:
    """Conversions of a period without credit, accepted before a (time, id), newest first."""
    order = (conversions.c.accept_ms, conversions.c.conversion_id)
    statement = (
        CONVERSION.where(_UNATTRIBUTED, _NO_TEST, *period.conditions())
        .order_by(*(column.desc() for column in order))
        .limit(count)
    )
    if before is not None:
        statement = statement.where(sa.tuple_(*order) < sa.tuple_(*before))
    with ledger.read() as connection:
        return [dict(row) for row in connection.execute(statement).mappings()]
