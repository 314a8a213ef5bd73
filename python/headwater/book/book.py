"""The book: the second deterministic stage, after the engine, in the order of the log.

It turns what the engine decides into what is owed, in the transaction that commits both. The same
log gives the same rows, wherever it was cut into batches: there is no clock here, no randomness,
and what a step sees is what stands before it on the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from headwater import limits
from headwater.book import conversions, orders, telling
from headwater.book.click_days import PROGRAM, count_click, score_again
from headwater.book.context import Context
from headwater.book.conversions import CREDITS
from headwater.book.decisions import decide
from headwater.book.locking import lock_due
from headwater.book.settings import OBJECTS, Settings
from headwater.book.store import Store
from headwater.model.book import Booked, Setting
from headwater.model.records import ControlBody, decode

_CLICK_ROWS: Final = frozenset(("clicks", "decision_revised"))


class Run(Protocol):
    """Rows of one table of the engine's outcomes that followed one another at one engine time."""

    @property
    def time_ms(self) -> int: ...
    @property
    def table(self) -> str: ...
    @property
    def rows(self) -> Sequence[Any]: ...
    @property
    def length(self) -> int: ...


class Book:
    """The book of one partition. One whose batch was not committed is not to be used again."""

    def __init__(self, partition: int, controls: Iterable[bytes] = ()) -> None:
        """`controls`: the records of the configuration that the store has of this book."""
        self._partition = partition
        self._settings = Settings()
        self._steps: Mapping[str, Callable[[Context, Any], bool]] = {
            "ticks": self._tick,
            "conversions": self._decided,
            "others": self._other,
            "controls": self._change,
            "erasures": self._erased,
        }
        for control in controls:
            self._configure(control, 0)

    def apply(self, store: Store, outcomes: Mapping[str, Any], runs: Iterable[Run]) -> Booked:
        """Take a batch in: the engine's `outcomes`, and the `runs` in which its rows came."""
        store.load_conversions(row[0] for row in outcomes.get("conversions", ()))
        store.load_decisions(row[0] for row in outcomes.get("others", ()))
        credits_given = (
            credit for row in outcomes.get("conversions", ()) for credit in row[CREDITS]
        )
        store.load_standings(click for _owner, click, _share in credits_given if click)
        paying = self._settings.click_types
        if paying:
            clicks = outcomes.get("clicks", ())
            store.load_standings(row[0] for row in clicks if row[PROGRAM] in paying)
        store.load_standings(row[0] for row in outcomes.get("decision_revised", ()))
        context = Context(store, self._settings, self._partition)
        for run in runs:
            context.at_ms = run.time_ms
            self._take(context, run)
        booked = context.booked
        for conversion_id in booked.conversions:
            booked.actions[conversion_id] = store.actions_of(conversion_id)
        return booked

    def _take(self, context: Context, run: Run) -> None:
        if run.table in _CLICK_ROWS:
            _count_clicks(context, run)
            return
        step = self._steps.get(run.table)
        if step is None:
            return
        # One row at a time, so that it is the same wherever the log was cut.
        for row in run.rows if run.rows else (None,) * run.length:
            telling.tell_due(context)
            telling.tell(context, is_first=step(context, row))

    def _tick(self, context: Context, _row: None) -> bool:
        lock_due(context, context.at_ms, limits.LOCKED_AT_ONCE_MAX)
        return False

    def _decided(self, context: Context, row: Sequence[Any]) -> bool:
        """A decision of the engine; whether it is the first of its conversion."""
        conversion = conversions.take(context, row)
        if conversion is not None:
            orders.apply_waiting(context, conversion)
        telling.tell_sale(context, row)
        return conversion is not None

    def _other(self, context: Context, row: Sequence[Any]) -> bool:
        decide(context, row)
        return False

    def _erased(self, context: Context, row: Sequence[Any]) -> bool:
        telling.forget(context, row)
        return False

    def _change(self, context: Context, row: Sequence[Any]) -> bool:
        """Take a change of the configuration in, and keep it if it is taken. One that cannot be
        read is passed over: edges put records on the log too, and a book that stops at one would
        stop for good.
        """
        _brand, kind, number, revision, record = row
        if kind not in OBJECTS:
            return False
        try:
            is_taken = self._configure(record, context.at_ms)
        except (KeyError, TypeError, ValueError):
            context.booked.unread.append((kind, number, revision))
            return False
        if is_taken:
            context.store.put_setting(Setting(self._partition, kind, number, record))
            telling.configure(context, decode(record))
        return False

    def _configure(self, record: bytes, at_ms: int) -> bool:
        control = decode(record)
        return self._settings.apply(control.brand, ControlBody._make(control.body), at_ms)


def _count_clicks(context: Context, run: Run) -> None:
    if run.table == "decision_revised":
        context.store.load_standings(row[0] for row in run.rows)
        for row in run.rows:
            score_again(context, row)
            telling.tell(context, is_first=False)
        return
    paying = context.settings.click_types
    paid = [row for row in run.rows if row[PROGRAM] in paying] if paying else []
    if paid:
        context.store.load_standings(row[0] for row in paid)
        for row in paid:
            count_click(context, row)
            telling.tell(context, is_first=False)
