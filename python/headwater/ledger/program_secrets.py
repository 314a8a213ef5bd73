"""What is kept of a program's secrets: salts of those that sign its links, and those of others'
webhooks, sealed. No secret itself stands here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from headwater.ledger import values
from headwater.ledger.engine import Ledger
from headwater.ledger.objects import Reference, Saved, find, saved, update
from headwater.ledger.outbox import take_revisions
from headwater.ledger.schema import programs
from headwater.model.signing import SECRETS_MAX

Column = Literal["link_salts", "shopify_secrets"]
LINKS: Final = "link_salts"
SHOPIFY: Final = "shopify_secrets"


def add_secret(ledger: Ledger, program: Reference, column: Column, value: str) -> Saved | None:
    """Keep a secret as the program's newest; the oldest gives way. None: no such program."""
    return _changed(ledger, program, column, lambda kept: [*kept, value][-SECRETS_MAX:])


def keep_newest(ledger: Ledger, program: Reference, column: Column) -> Saved | None:
    """Forget every secret of the program but the newest. None: no such program."""
    return _changed(ledger, program, column, lambda kept: kept[-1:])


def _changed(
    ledger: Ledger,
    program: Reference,
    column: Column,
    change: Callable[[list[str]], list[str]],
) -> Saved | None:
    with ledger.write() as connection:
        revision = take_revisions(connection)
        row = find(connection, programs, program)
        if row is None:
            return None
        row = update(connection, programs, row, revision, {column: change(row[column])})
        return saved(connection, revision, row, values.program_change(row), created=False)
