"""Counts and ids of everything committed: what the demo, the tests and `verify` compare with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from headwater.ledger.engine import Ledger
from headwater.ledger.schema import (
    clicks,
    conversion_reports,
    conversions,
    observations,
    rejections,
)
from headwater.model.records import Flag

_ROWS: Final = 10_000
_OTHER_TOUCHES: Final = int(Flag.SOFT_CLICK | Flag.IMPRESSION)


@dataclass(frozen=True, slots=True)
class Census:
    """Committed events by what became of them."""

    clicks_by_verdict: dict[str, int]
    other_touches: int
    """Soft clicks and impressions."""
    observations: int
    reports_by_outcome: dict[str, int]
    conversions_by_status: dict[str, int]
    conversions_by_reason: dict[str, int]
    rejections_by_reason: dict[str, int]

    @property
    def events(self) -> int:
        """Touches, identifies and page views, conversion reports, rejections."""
        return (
            sum(self.clicks_by_verdict.values())
            + self.other_touches
            + self.observations
            + sum(self.reports_by_outcome.values())
            + sum(self.rejections_by_reason.values())
        )


def census(ledger: Ledger) -> Census:
    """Count everything committed, at one moment."""
    with ledger.read() as connection:

        def grouped(column: sa.Column[str], *only: sa.ColumnElement[bool]) -> dict[str, int]:
            rows = connection.execute(
                sa.select(column, sa.func.count())
                .where(column.is_not(None), *only)
                .group_by(column)
            )
            return {row[0]: row[1] for row in rows}

        is_click = clicks.c.flags.bitwise_and(_OTHER_TOUCHES) == 0
        return Census(
            clicks_by_verdict=grouped(clicks.c.verdict, is_click),
            other_touches=connection.scalar(
                sa.select(sa.func.count()).select_from(clicks).where(~is_click)
            )
            or 0,
            observations=connection.scalar(sa.select(sa.func.count()).select_from(observations))
            or 0,
            reports_by_outcome=grouped(conversion_reports.c.outcome),
            conversions_by_status=grouped(conversions.c.status),
            conversions_by_reason=grouped(conversions.c.reason),
            rejections_by_reason=grouped(rejections.c.reason),
        )


def click_ids(ledger: Ledger) -> Iterator[bytes]:
    """Every committed touch's id, once for each row, in order."""
    yield from _ids(ledger, clicks.c.click_id)


def observation_ids(ledger: Ledger) -> Iterator[bytes]:
    """Every committed identify's and page view's event id, in order."""
    yield from _ids(ledger, observations.c.event_id)


def _ids(ledger: Ledger, column: sa.Column[bytes]) -> Iterator[bytes]:
    """Read in pages: a long read would keep the WAL from being folded in."""
    after = b""
    while True:
        with ledger.read() as connection:
            page = list(
                connection.scalars(
                    sa.select(column).where(column > after).order_by(column).limit(_ROWS)
                )
            )
        yield from page
        if len(page) < _ROWS:
            return
        after = page[-1]


def reports_by_conversion(ledger: Ledger) -> dict[bytes, int]:
    """How many reports of each conversion are committed."""
    with ledger.read() as connection:
        rows = connection.execute(
            sa.select(conversion_reports.c.conversion_id, sa.func.count()).group_by(
                conversion_reports.c.conversion_id
            )
        )
        return {row[0]: row[1] for row in rows}


def conversion_ids_by_order(ledger: Ledger, prefix: str) -> dict[str, bytes]:
    """Conversion ids of orders whose id begins with `prefix`, by order id."""
    with ledger.read() as connection:
        rows = connection.execute(
            sa.select(conversions.c.order_id, conversions.c.conversion_id).where(
                conversions.c.order_id.startswith(prefix, autoescape=True)
            )
        )
        return {row[0]: row[1] for row in rows}
