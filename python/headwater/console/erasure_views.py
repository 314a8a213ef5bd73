"""Erasures as the management API answers them."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET, UnsetType

from headwater import clock, ids
from headwater.console.explain_views import Hop, Identifier, hop, identifier
from headwater.console.views import View
from headwater.ledger.erasing import Erasure


class ErasureView(View):
    """`status`: pending until it is committed, then done, or preview of a dry run.

    `identifiers` are gone, or would be; `shared` are kept, because they are joined to another
    customer too. Both are empty, and the numbers null, while it is pending.
    """

    id: str
    brand_id: str
    status: str
    scope: str
    dry_run: bool
    force: bool
    at: str
    identifiers: list[Identifier]
    shared: list[Identifier]
    hubs: list[Identifier]
    cut: list[Hop]
    truncated: bool
    clicks: int | None
    """Clicks that lose their tie to an identifier; they stay in the partners' totals."""
    orders: int | None
    """Orders that forget identifiers."""
    warnings: list[str] | UnsetType = UNSET


def erasure(row: Erasure, warnings: Sequence[str] | UnsetType = UNSET) -> ErasureView:
    pending = row.report is None
    report = row.report or {}
    done = "preview" if row.body.dry_run else "done"
    return ErasureView(
        id=ids.event_text("evt", row.event_id),
        brand_id=ids.object_text("brd", row.brand),
        status="pending" if pending else done,
        scope=row.body.scope,
        dry_run=row.body.dry_run,
        force=row.body.force,
        at=clock.iso_ms(row.accept_ms),
        identifiers=[identifier(each) for each in report.get("identifiers", ())],
        shared=[identifier(each) for each in report.get("shared", ())],
        hubs=[identifier(each) for each in report.get("hubs", ())],
        cut=[hop(each) for each in report.get("cut", ())],
        truncated=report.get("truncated", False),
        clicks=None if pending else report.get("clicks", 0),
        orders=None if pending else report.get("orders", 0),
        warnings=UNSET if isinstance(warnings, UnsetType) else list(warnings),
    )
