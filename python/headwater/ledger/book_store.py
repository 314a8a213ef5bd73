"""The book's rows within the transaction of a batch: loaded when asked for, written at its end.

It stands at the beginning of the batch: what the batch itself is about to write (its clicks, its
conversions) is not there yet, and what the book puts is seen at once. So the book sees the same
wherever the log was cut into batches.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Generic, NamedTuple, TypeVar

import sqlalchemy as sa

from headwater.ledger.engine import Ledger
from headwater.ledger.pixel_store import PixelStore
from headwater.ledger.schema import (
    BOOK_TABLES,
    action_items,
    action_moves,
    actions,
    book_balances,
    book_entries,
    book_settings,
    click_days,
    click_standings,
    clicks,
    conversions,
    credit_shares,
    decisions_log,
    order_changes,
    tallies,
)
from headwater.model.book import (
    Action,
    ActionItem,
    ActionMove,
    BookEntry,
    ClickDay,
    ClickStanding,
    Conversion,
    DecisionEntry,
    OrderChange,
    Setting,
    Tally,
)

# Names of one statement's parameters: the oldest SQLite in use takes 999.
_KEYS: Final = 500
# Position in a row of the engine's clicks.
_CLICK_ACCEPT_MS: Final = 5

_Row = TypeVar("_Row", bound=NamedTuple)


def _upsert_sql(table: sa.Table, dialect: sa.Dialect, *, adds: bool = False) -> str:
    # The two dialects spell it alike, and only they have it.
    if dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    statement = insert(table)
    new = statement.excluded
    changed = {
        column.name: column + new[column.name] if adds else new[column.name]
        for column in table.columns
        if not column.primary_key
    }
    keys = [column.name for column in table.primary_key]
    upsert = statement.on_conflict_do_update(index_elements=keys, set_=changed)
    return str(upsert.compile(dialect=dialect))


_UPSERTS: Final[Mapping[str, Callable[[sa.Dialect], str]]] = {
    table.name: partial(_upsert_sql, table, adds=table is book_balances) for table in BOOK_TABLES
}


@functools.cache
def _key_of(table: sa.Table) -> tuple[list[sa.Column[Any]], list[int]]:
    """The columns of its key, and where they are in a row."""
    columns = list(table.primary_key)
    return columns, [list(table.columns).index(column) for column in columns]


class _Rows(Generic[_Row]):
    """Rows of one table by their key: those that were asked for, and those that were put."""

    def __init__(
        self, ledger: Ledger, connection: sa.Connection, table: sa.Table, make: type[_Row]
    ) -> None:
        self._ledger, self._connection, self._table, self._make = ledger, connection, table, make
        self._columns, self._at = _key_of(table)
        self.known: dict[Any, _Row | None] = {}
        self.changed: dict[Any, None] = {}
        self._is_empty: bool | None = None

    def key(self, row: Sequence[Any]) -> Any:
        return row[self._at[0]] if len(self._at) == 1 else tuple(row[at] for at in self._at)

    def get(self, key: Any) -> _Row | None:
        if key not in self.known:
            values = (key,) if len(self._at) == 1 else key
            pairs = zip(self._columns, values, strict=True)
            found = self.read(*(column == value for column, value in pairs))
            self.known[key] = found[0] if found else None
        return self.known[key]

    def load(self, keys: Iterable[Any]) -> None:
        """Have the rows of single-column keys at hand."""
        missing = [key for key in dict.fromkeys(keys) if key not in self.known]
        if missing and self._is_empty is None:
            # Few pay for clicks, and where nobody does each that is scored again would be sought.
            first = sa.select(sa.literal(1)).select_from(self._table).limit(1)
            self._is_empty = self._connection.scalar(first) is None
        if self._is_empty:
            self.known.update(dict.fromkeys(missing))
            return
        for start in range(0, len(missing), _KEYS):
            chunk = missing[start : start + _KEYS]
            self.known.update(dict.fromkeys(chunk))
            self.read(self._columns[0].in_(chunk))

    def read(
        self,
        *where: sa.ColumnElement[bool],
        order: Sequence[sa.Column[Any]] = (),
        limit: int | None = None,
    ) -> list[_Row]:
        """Rows of the table that were not put meanwhile, which are passed over."""
        # So as many more are read.
        count = None if limit is None else limit + len(self.changed)
        statement = sa.select(self._table).where(*where).order_by(*order).limit(count)
        found = []
        for row in self._connection.execute(statement):
            made = self._make(*row)
            key = self.key(made)
            if key not in self.changed:
                self.known[key] = made
                found.append(made)
        return found

    def put(self, row: _Row) -> None:
        key = self.key(row)
        self.known[key] = row
        self.changed[key] = None

    def put_rows(self) -> Iterable[_Row]:
        """What was put."""
        return (row for key in self.changed if (row := self.known[key]) is not None)

    def flush(self) -> None:
        rows = [tuple(row) for row in self.put_rows()]
        if rows:
            sql = self._ledger.cached_sql(_UPSERTS[self._table.name])
            self._connection.exec_driver_sql(sql, rows)
        self.changed.clear()


# Which columns of a conversion the book knows.
_CONVERSION: Final = tuple(
    conversions.c[name] for name in Conversion._fields if name not in ("credits",)
)


class BookStore:
    """Rows of the book for one partition in one transaction. See `headwater.book.store.Store`."""

    def __init__(
        self,
        ledger: Ledger,
        connection: sa.Connection,
        partition: int,
        outcomes: Mapping[str, Any],
        clicks_of: Ledger | None = None,
    ) -> None:
        """`clicks_of`: where clicks before the batch are, if not in `ledger` itself."""
        self.connection = connection
        self._clicks_of = clicks_of
        self.pixels = PixelStore(ledger, connection, partition)
        self._ledger = ledger
        self._partition = partition
        self._outcomes = outcomes
        self._clicks: dict[bytes, tuple[int, bytes] | None] | None = None
        self._conversions: dict[bytes, Conversion | None] = {}
        self._put_conversions: dict[bytes, None] = {}
        self._of_conversion: dict[bytes, dict[bytes, None]] = {}
        self._changes_of: dict[bytes, list[OrderChange]] = {}
        self._items: dict[bytes, Sequence[ActionItem]] = {}

        def rows(table: sa.Table, make: type[_Row]) -> _Rows[_Row]:
            return _Rows(ledger, connection, table, make)

        self._actions = rows(actions, Action)
        self._moves = rows(action_moves, ActionMove)
        self._entries = rows(book_entries, BookEntry)
        self._added: Counter[tuple[int, int, str, str]] = Counter()
        self._decisions = rows(decisions_log, DecisionEntry)
        self._changes = rows(order_changes, OrderChange)
        self._tallies = rows(tallies, Tally)
        self._settings = rows(book_settings, Setting)
        self._standings = rows(click_standings, ClickStanding)
        self._days = rows(click_days, ClickDay)

    # ---- Conversions and their actions

    def load_conversions(self, conversion_ids: Iterable[bytes]) -> None:
        missing = [key for key in dict.fromkeys(conversion_ids) if key not in self._conversions]
        for start in range(0, len(missing), _KEYS):
            self._load_conversions(missing[start : start + _KEYS])

    def _load_conversions(self, chunk: list[bytes]) -> None:
        self._conversions.update(dict.fromkeys(chunk))
        for conversion_id in chunk:
            self._of_conversion[conversion_id] = {}
            self._changes_of[conversion_id] = []
        found = self.connection.execute(
            sa.select(*_CONVERSION).where(conversions.c.conversion_id.in_(chunk))
        ).all()
        for change in self._changes.read(order_changes.c.conversion_id.in_(chunk)):
            self._changes_of[change.conversion_id].append(change)
        if not found:
            return
        known = [row.conversion_id for row in found]
        given: dict[bytes, list[tuple[int, bytes | None, int]]] = {each: [] for each in known}
        shares = sa.select(credit_shares).where(credit_shares.c.conversion_id.in_(known))
        for share in self.connection.execute(shares.order_by(credit_shares.c.ordinal)):
            given[share.conversion_id].append((share.partner, share.click_id, share.share_ppm))
        for row in found:
            made = Conversion._make((*row, tuple(given[row.conversion_id])))
            self._conversions[row.conversion_id] = made
        for action in self._actions.read(actions.c.conversion_id.in_(known)):
            self._of_conversion[action.conversion_id or b""][action.action_id] = None

    def conversion(self, conversion_id: bytes) -> Conversion | None:
        self.load_conversions((conversion_id,))
        return self._conversions[conversion_id]

    def put_conversion(self, conversion: Conversion) -> None:
        self.load_conversions((conversion.conversion_id,))
        self._conversions[conversion.conversion_id] = conversion
        self._put_conversions[conversion.conversion_id] = None

    def conversions_of_click(self, click_id: bytes) -> list[bytes]:
        stored = self.connection.scalars(
            sa.select(credit_shares.c.conversion_id).where(credit_shares.c.click_id == click_id)
        )
        found = {each for each in stored if each not in self._put_conversions}
        for conversion_id in self._put_conversions:
            conversion = self._conversions[conversion_id]
            if conversion and any(click_id == credit[1] for credit in conversion.credits):
                found.add(conversion_id)
        return sorted(found)

    def action(self, action_id: bytes) -> Action | None:
        return self._actions.get(action_id)

    def actions_of(self, conversion_id: bytes) -> list[Action]:
        self.load_conversions((conversion_id,))
        found = (self._actions.get(each) for each in sorted(self._of_conversion[conversion_id]))
        return [action for action in found if action is not None]

    def put_action(self, action: Action) -> None:
        if action.conversion_id is not None:
            self.load_conversions((action.conversion_id,))
            self._of_conversion[action.conversion_id][action.action_id] = None
        self._actions.put(action)

    def changed_actions(self) -> list[Action]:
        """Actions that were put and are not written yet."""
        return list(self._actions.put_rows())

    def due_actions(self, until_ms: int, count: int, brand: int | None) -> list[Action]:
        due = self._due(self._actions, actions, until_ms, count, brand)
        self.load_conversions(each.conversion_id for each in due if each.conversion_id)
        return due

    def _due(
        self, rows: _Rows[Any], table: sa.Table, until_ms: int, count: int, brand: int | None
    ) -> list[Any]:
        """Rows due by then, those that were put among them, in the order of time and key."""
        columns = table.c
        where = [columns.partition == self._partition, columns.due_ms <= until_ms]
        if brand is not None:
            where.append(columns.brand == brand)
        order = (columns.due_ms, *table.primary_key)
        stored = rows.read(*where, order=order, limit=count)
        put = [
            row
            for row in rows.put_rows()
            if row.due_ms is not None and row.due_ms <= until_ms and brand in (None, row.brand)
        ]
        due = sorted(stored + put, key=lambda row: (row.due_ms, rows.key(row)))
        return due[:count]

    def add_move(self, move: ActionMove) -> None:
        self._moves.put(move)

    def put_entry(self, entry: BookEntry, *, grows: bool = False) -> None:
        former = self._entries.get(self._entries.key(entry)) if grows else None
        account = (entry.program, entry.partner, entry.currency, entry.account)
        self._added[account] += entry.amount_minor - (former.amount_minor if former else 0)
        self._entries.put(entry)

    def put_items(self, action_id: bytes, items: Sequence[ActionItem]) -> None:
        self._items[action_id] = items

    # ---- Decisions and tallies

    def load_decisions(self, event_ids: Iterable[bytes]) -> None:
        self._decisions.load(event_ids)

    def decision(self, event_id: bytes) -> DecisionEntry | None:
        return self._decisions.get(event_id)

    def put_decision(self, entry: DecisionEntry) -> None:
        self._decisions.put(entry)

    def order_changes(self, conversion_id: bytes) -> list[OrderChange]:
        self.load_conversions((conversion_id,))
        return sorted(self._changes_of[conversion_id], key=lambda change: change.ordinal)

    def put_order_change(self, change: OrderChange) -> None:
        self.load_conversions((change.conversion_id,))
        kept = self._changes_of[change.conversion_id]
        self._changes_of[change.conversion_id] = [
            *(each for each in kept if each.ordinal != change.ordinal),
            change,
        ]
        self._changes.put(change)

    def put_setting(self, setting: Setting) -> None:
        self._settings.put(setting)

    def tally(self, key: str) -> int:
        found = self._tallies.get(key)
        return found.used if found else 0

    def put_tally(self, key: str, brand: int, used: int) -> None:
        self._tallies.put(Tally(key, brand, used))

    # ---- Clicks

    def click_record(self, click_id: bytes) -> bytes | None:
        found = self._click(click_id)
        return found[1] if found else None

    def click_ms(self, click_id: bytes) -> int | None:
        found = self._click(click_id)
        return found[0] if found else None

    def _click(self, click_id: bytes) -> tuple[int, bytes] | None:
        """Its time and record."""
        if self._clicks is None:
            rows = self._outcomes.get("clicks", ())
            self._clicks = {row[0]: (row[_CLICK_ACCEPT_MS], row[-1]) for row in rows}
        if click_id not in self._clicks:
            self._clicks[click_id] = self._stored_click(click_id)
        return self._clicks[click_id]

    def _stored_click(self, click_id: bytes) -> tuple[int, bytes] | None:
        wanted = sa.select(clicks.c.accept_ms, clicks.c.record)
        wanted = wanted.where(clicks.c.click_id == click_id)
        if self._clicks_of is None:
            found = self.connection.execute(wanted).first()
        else:
            with self._clicks_of.read() as connection:
                found = connection.execute(wanted).first()
        return None if found is None else (found.accept_ms, found.record)

    def load_standings(self, click_ids: Iterable[bytes]) -> None:
        self._standings.load(click_ids)

    def standing(self, click_id: bytes) -> ClickStanding | None:
        return self._standings.get(click_id)

    def put_standing(self, standing: ClickStanding) -> None:
        self._standings.put(standing)

    def standings_of_day(self, program: int, partner: int, day: str) -> list[ClickStanding]:
        of = click_standings.c
        found = self._standings.read(
            of.program == program, of.partner == partner, of.day == day
        ) + [
            standing
            for standing in self._standings.put_rows()
            if (standing.program, standing.partner, standing.day) == (program, partner, day)
        ]
        return sorted(found)

    def click_day(self, key: tuple[int, int, str, str]) -> ClickDay | None:
        return self._days.get(key)

    def put_click_day(self, day: ClickDay) -> None:
        self._days.put(day)

    def due_click_days(self, until_ms: int, count: int, brand: int | None) -> list[ClickDay]:
        return self._due(self._days, click_days, until_ms, count, brand)

    # ---- The end

    def flush(self) -> None:
        """Write what was put."""
        self.pixels.flush()
        self._add_to_balances()
        for rows in (
            self._actions,
            self._moves,
            self._entries,
            self._decisions,
            self._changes,
            self._tallies,
            self._settings,
            self._standings,
            self._days,
        ):
            rows.flush()
        if self._items:
            self.connection.execute(
                sa.delete(action_items).where(
                    action_items.c.action_id == sa.bindparam("of_action")
                ),
                [{"of_action": action_id} for action_id in self._items],
            )
            items = [tuple(item) for listed in self._items.values() for item in listed]
            if items:
                self.connection.exec_driver_sql(self._ledger.insert_sql(action_items), items)
        self._items.clear()

    def _add_to_balances(self) -> None:
        """Add what the entries that were put add to their accounts."""
        added = [(*account, amount_minor) for account, amount_minor in sorted(self._added.items())]
        if added:
            sql = self._ledger.cached_sql(_UPSERTS[book_balances.name])
            self.connection.exec_driver_sql(sql, added)
        self._added.clear()


def settings_of(ledger: Ledger, partition: int) -> list[bytes]:
    """The control records a partition's book goes by."""
    with ledger.read() as connection:
        return list(
            connection.scalars(
                sa.select(book_settings.c.control)
                .where(book_settings.c.partition == partition)
                .order_by(book_settings.c.object, book_settings.c.number)
            )
        )
