"""The salts of the secrets that sign a program's links; no secret itself is kept."""

from __future__ import annotations

from collections.abc import Callable

from headwater.ledger import values
from headwater.ledger.engine import Ledger
from headwater.ledger.objects import Reference, Saved, find, saved, update
from headwater.ledger.outbox import take_revisions
from headwater.ledger.schema import programs
from headwater.model.signing import SECRETS_MAX


def add_salt(ledger: Ledger, program: Reference, salt: str) -> Saved | None:
    """Make a salt the program's newest; the oldest gives way. None: no such program."""
    return _changed(ledger, program, lambda salts: [*salts, salt][-SECRETS_MAX:])


def keep_newest(ledger: Ledger, program: Reference) -> Saved | None:
    """Forget every salt of the program but the newest. None: no such program."""
    return _changed(ledger, program, lambda salts: salts[-1:])


def _changed(
    ledger: Ledger, program: Reference, change: Callable[[list[str]], list[str]]
) -> Saved | None:
    with ledger.write() as connection:
        revision = take_revisions(connection)
        row = find(connection, programs, program)
        if row is None:
            return None
        columns = {"link_salts": change(row["link_salts"])}
        row = update(connection, programs, row, revision, columns)
        return saved(connection, revision, row, values.program_change(row), created=False)
