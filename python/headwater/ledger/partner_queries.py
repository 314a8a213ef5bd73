"""What a partner's question about a conversion is answered from, each look bounded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from headwater import limits
from headwater.ledger.decisions import credits_of
from headwater.ledger.engine import Ledger
from headwater.ledger.queries import CONVERSION
from headwater.ledger.schema import (
    clicks,
    conversions,
    credit_shares,
    enrolments,
    event_types,
    programs,
)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Looked:
    """Conversions with their `credits`; `truncated`: there may be more than were looked at."""

    conversions: list[Row] = field(default_factory=list)
    truncated: bool = False


def conversions_of_order(
    ledger: Ledger,
    partner: int,
    order_id: str,
    *,
    program: str | None,
    event: str | None,
    brand: int | None = None,
    count: int = limits.PARTNER_CONVERSIONS_MAX,
) -> Looked:
    """The lines of an order in programs that the partner is enrolled in, those it has credit of
    first, then the oldest first; of one program, of one event type, by their codes; of one brand.
    """
    has_credit = sa.exists().where(
        credit_shares.c.conversion_id == conversions.c.conversion_id,
        credit_shares.c.partner == partner,
    )
    statement = (
        CONVERSION.join(enrolments, enrolments.c.program_id == conversions.c.program)
        .where(enrolments.c.partner_id == partner, conversions.c.order_id == order_id)
        # Of an order with more lines than are looked at, none that it earned may be missing.
        .order_by(sa.desc(has_credit), conversions.c.accept_ms, conversions.c.conversion_id)
        .limit(count + 1)
    )
    if brand is not None:
        statement = statement.where(conversions.c.brand == brand)
    if program is not None:
        statement = statement.where(programs.c.code == program)
    if event is not None:
        statement = statement.where(event_types.c.code == event)
    with ledger.read() as connection:
        rows = _with_credits(connection, statement)
    return Looked(rows[:count], len(rows) > count)


def conversions_of_click(
    ledger: Ledger, click: Row, *, count: int = limits.PARTNER_CONVERSIONS_MAX
) -> Looked:
    """Conversions that a click was a candidate of, or may have been: whether the explanation
    names it as one is for the caller to look.

    Those it was credited for are found by an index. For the others the explanations of the
    brand's conversions since the click are looked through, its own program's first, up to
    CLICK_SCAN_ROWS_MAX of them: a table of all candidates would cost a row for each at every
    commit, and be asked once in a while.
    """
    click_id = click["click_id"]
    with ledger.read() as connection:
        found = list(
            connection.scalars(
                sa.select(credit_shares.c.conversion_id)
                .where(credit_shares.c.click_id == click_id)
                .distinct()
                .limit(count + 1)
            )
        )
    scan = _Scan(ledger, click)
    for conversion_id in scan.hits():
        if len(found) > count:
            break
        if conversion_id not in found:
            found.append(conversion_id)
    with ledger.read() as connection:
        statement = CONVERSION.where(conversions.c.conversion_id.in_(found[:count])).order_by(
            conversions.c.accept_ms, conversions.c.conversion_id
        )
        rows = _with_credits(connection, statement)
    return Looked(rows, len(found) > count or scan.is_cut)


class _Scan:
    """The explanations of a brand's conversions since a click, a page a transaction."""

    def __init__(self, ledger: Ledger, click: Row) -> None:
        self._ledger = ledger
        self._click = click
        self._rows_left = limits.CLICK_SCAN_ROWS_MAX
        self.is_cut = False
        """The bound came before the end."""

    def hits(self) -> Iterator[bytes]:
        """Ids of the conversions whose explanation names the click."""
        for program in self._programs():
            yield from self._in_program(program)

    def _programs(self) -> list[int]:
        own = self._click["program"]
        with self._ledger.read() as connection:
            others = connection.scalars(
                sa.select(programs.c.id)
                .where(programs.c.brand_id == self._click["brand"], programs.c.id != own)
                .order_by(programs.c.id)
                .limit(limits.PAGE_ROWS_MAX)
            )
            return [own, *others]

    def _in_program(self, program: int) -> Iterator[bytes]:
        columns = conversions.c
        position = sa.tuple_(columns.accept_ms, columns.conversion_id)
        # A click may be named by an order that happened, by another clock, just before it.
        after: tuple[int, bytes] = (self._click["touch_ms"] - limits.FUTURE_MS_MAX, b"")
        while True:
            page = (
                sa.select(columns.accept_ms, columns.conversion_id, columns.explain)
                .where(columns.program == program, position > sa.tuple_(*after))
                .order_by(columns.accept_ms, columns.conversion_id)
                .limit(min(limits.PAGE_ROWS_MAX, self._rows_left + 1))
            )
            with self._ledger.read() as connection:
                rows = connection.execute(page).all()
            for row in rows:
                if not self._rows_left:
                    self.is_cut = True
                    return
                self._rows_left -= 1
                if self._click["click_id"] in row.explain:
                    yield row.conversion_id
            if len(rows) < limits.PAGE_ROWS_MAX:
                return
            after = (rows[-1].accept_ms, rows[-1].conversion_id)


def click_rows(ledger: Ledger, click_ids: Iterable[bytes]) -> dict[bytes, Row]:
    """Clicks by their ids, those that are committed."""
    wanted = list(set(click_ids))
    found: dict[bytes, Row] = {}
    with ledger.read() as connection:
        for start in range(0, len(wanted), limits.PAGE_ROWS_MAX):
            rows = connection.execute(
                sa.select(clicks).where(
                    clicks.c.click_id.in_(wanted[start : start + limits.PAGE_ROWS_MAX])
                )
            ).mappings()
            found.update((row["click_id"], dict(row)) for row in rows)
    return found


def _with_credits(connection: sa.Connection, statement: sa.Select[Any]) -> list[Row]:
    rows = connection.execute(statement).mappings().all()
    given = credits_of(connection, [row["conversion_id"] for row in rows])
    return [{**row, "credits": given[row["conversion_id"]]} for row in rows]
