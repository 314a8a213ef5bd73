"""API keys. Only a key's SHA-256 is kept; what a key may reach is read at every request."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from headwater.errors import RequestRefused
from headwater.ledger import values
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
    update,
)
from headwater.ledger.outbox import take_revisions
from headwater.ledger.schema import brands, keys, partners


def create_key(
    ledger: Ledger,
    origin: Origin,
    *,
    sha256: str,
    scopes: list[str],
    brand: Reference | None = None,
    partner: Reference | None = None,
) -> Saved:
    """Register a key by the hex SHA-256 of its secret.

    Raises RequestRefused for an unknown brand or partner, or another request's external id.
    """
    with ledger.write() as connection:
        revision = take_revisions(connection)
        before = earlier(connection, keys, origin)
        if before:
            return before
        columns = {
            "sha256": sha256,
            "scopes": scopes,
            "brand_id": None
            if brand is None
            else require(connection, brands, brand, "brand_id")["id"],
            "partner_id": None
            if partner is None
            else require(connection, partners, partner, "partner_id")["id"],
        }
        row = insert(connection, keys, revision, origin, columns)
        return saved(connection, revision, row, values.key_change(row), created=True)


def register_key(ledger: Ledger, sha256: str, scopes: list[str]) -> None:
    """Register a key that is known already, once however often it is said.

    A key that was deleted stays deleted: raises RequestRefused `conflict`.
    """
    with ledger.write() as connection:
        known = connection.scalar(sa.select(keys.c.status).where(keys.c.sha256 == sha256))
        if known == values.ACTIVE:
            return
        if known is not None:
            raise RequestRefused("conflict", "this key was deleted")
        revision = take_revisions(connection)
        columns = {"sha256": sha256, "scopes": scopes, "brand_id": None, "partner_id": None}
        row = insert(connection, keys, revision, Origin(), columns)
        saved(connection, revision, row, values.key_change(row), created=True)


def delete_key(ledger: Ledger, reference: Reference) -> Saved | None:
    """Make a key useless, for good; None when there is no such key."""
    with ledger.write() as connection:
        revision = take_revisions(connection)
        row = find(connection, keys, reference)
        if row is None:
            return None
        if row["status"] == values.DELETED:
            return Saved(row, created=False, revision=row["revision"])
        row = update(connection, keys, row, revision, {"status": values.DELETED})
        return saved(connection, revision, row, values.key_change(row), created=False)


def key_by_sha256(ledger: Ledger, sha256: str) -> dict[str, Any] | None:
    """The live key with this hash; None when there is none."""
    with ledger.read() as connection:
        row = (
            connection.execute(
                sa.select(keys).where(keys.c.sha256 == sha256, keys.c.status == values.ACTIVE)
            )
            .mappings()
            .first()
        )
        return None if row is None else dict(row)
