"""The rows a batch changes besides its new clicks, before and after: what rollups follow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from headwater.ledger.book_store import BookStore
from headwater.ledger.rollup_cells import Conversion, Credit
from headwater.ledger.schema import actions, click_revisions, clicks, conversions, credit_shares
from headwater.model.book import Action, Booked
from headwater.model.click_cells import ClickRows

# Names of one statement's parameters: the oldest SQLite in use takes 999.
_KEYS: Final = 500
# Positions in a row of what was scored again.
_CLICK, _REVISION, _STANDING = 0, 3, slice(4, 7)

_NO_CLICKS: Final = ClickRows()

Standing = tuple[str, str, int]
"""Verdict, how it counts, whether it is unique."""
T = TypeVar("T")


class Change:
    """Make it, and read what there was, before the batch's rows are written; then what there is."""

    def __init__(
        self,
        connection: sa.Connection,
        outcomes: Mapping[str, Any],
        booked: Booked,
        store: BookStore | None,
    ) -> None:
        self.new: ClickRows = outcomes.get("clicks", _NO_CLICKS)
        self._scored = {row[_CLICK]: row for row in outcomes.get("decision_revised", ())}
        decided = (row[0] for row in outcomes.get("conversions", ()))
        self._conversions = list(dict.fromkeys((*decided, *booked.credited)))
        self._connection = connection
        after = [] if store is None else store.changed_actions()
        self._actions = [action.action_id for action in after]
        self.actions: list[tuple[Action, int]] = [(action, 1) for action in after]
        self.clicks: list[tuple[Any, Sequence[tuple[Standing, int]]]] = []
        """Clicks scored again: how they stood and stand, with the sign that is counted with."""
        self.conversions: list[tuple[Conversion, list[Credit], int]] = []

    @property
    def scored(self) -> set[bytes]:
        """The ids of clicks scored again."""
        return set(self._scored)

    def read_before(self) -> None:
        for row in self._scored_clicks(self._scored):
            again = self._scored[row.click_id]
            # As the rows are written: a revision that is there already changes nothing.
            if row.known is None or again[_REVISION] > row.known:
                self.clicks.append((row, ((_standing(row), -1), (again[_STANDING], 1))))
            else:
                self.clicks.append((row, ()))
        self._read_conversions(-1)
        for row in found_rows(self._connection, actions, actions.c.action_id, self._actions):
            self.actions.append((Action(*row), -1))

    def read_after(self) -> None:
        """Clicks that are new in the batch are counted as they stand at its end."""
        before = {row.click_id for row, _standings in self.clicks}
        for row in self._scored_clicks(self._scored.keys() - before):
            self.clicks.append((row, ((_standing(row), 1),)))
        self._read_conversions(1)

    def _scored_clicks(self, click_ids: Iterable[bytes]) -> Iterator[Any]:
        for chunk in chunks(click_ids):
            yield from self._connection.execute(_SCORED, {"of_clicks": chunk}).all()

    def _read_conversions(self, sign: int) -> None:
        given: dict[bytes, list[Credit]] = {each: [] for each in self._conversions}
        column = credit_shares.c.conversion_id
        for row in found_rows(self._connection, credit_shares, column, self._conversions):
            given[row.conversion_id].append((row.partner, row.click_id, row.share_ppm))
        column = conversions.c.conversion_id
        for row in found_rows(self._connection, conversions, column, self._conversions):
            counted = Conversion(*(getattr(row, name) for name in Conversion._fields))
            self.conversions.append((counted, given[row.conversion_id], sign))


def _standing(row: Any) -> Standing:
    return row.verdict, row.counted, row.is_unique


def _scored() -> sa.Select[Any]:
    names = ("click_id", "program", "partner", "link", "accept_ms", "flags")
    standing = ("verdict", "counted", "is_unique", "record")
    columns = clicks.c
    newest = sa.select(sa.func.max(click_revisions.c.revision))
    known = newest.where(click_revisions.c.click_id == columns.click_id).scalar_subquery()
    wanted = (*(columns[name] for name in (*names, *standing)), known.label("known"))
    return sa.select(*wanted).where(columns.click_id.in_(sa.bindparam("of_clicks", expanding=True)))


_SCORED: Final = _scored()


def chunks(keys: Iterable[T]) -> Iterator[list[T]]:
    """So many keys at once as one statement takes."""
    listed = list(keys)
    for start in range(0, len(listed), _KEYS):
        yield listed[start : start + _KEYS]


def found_rows(
    connection: sa.Connection, table: sa.Table, column: sa.Column[bytes], keys: Iterable[bytes]
) -> Iterator[Any]:
    """The rows with some keys."""
    order = [*table.primary_key]
    for chunk in chunks(keys):
        yield from connection.execute(
            sa.select(table).where(column.in_(chunk)).order_by(*order)
        ).all()
