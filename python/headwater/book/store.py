"""What the book asks of whoever keeps its rows: the ledger, or a dict in a test."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from headwater.book import pixels
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
)

DayKey = tuple[int, int, str, str]
"""Program, partner, day, currency."""


class Store(Protocol):
    """Rows as they are after everything that was put so far.

    A row that is put takes the place of the one with its key. What is asked for is answered from
    the log's point of view: nothing that comes later on the log is seen.
    """

    @property
    def pixels(self) -> pixels.Store:
        """The rows of partner pixels, of the same place on the log."""

    def load_conversions(self, conversion_ids: Iterable[bytes]) -> None:
        """Say which conversions are about to be asked for, with their actions and changes."""

    def load_decisions(self, event_ids: Iterable[bytes]) -> None:
        """Say which decisions are about to be asked for."""

    def load_standings(self, click_ids: Iterable[bytes]) -> None:
        """Say which clicks' standings are about to be asked for."""

    def conversion(self, conversion_id: bytes) -> Conversion | None: ...
    def put_conversion(self, conversion: Conversion) -> None: ...
    def conversions_of_click(self, click_id: bytes) -> list[bytes]:
        """Conversions that credit a click, in the order of their ids."""

    def action(self, action_id: bytes) -> Action | None: ...
    def actions_of(self, conversion_id: bytes) -> list[Action]:
        """Actions of a conversion, in the order of their ids."""

    def put_action(self, action: Action) -> None: ...
    def due_actions(self, until_ms: int, count: int, brand: int | None) -> list[Action]:
        """Actions of the partition due by then, the earliest first; of one brand if named."""

    def add_move(self, move: ActionMove) -> None: ...
    def put_entry(self, entry: BookEntry, *, grows: bool = False) -> None:
        """A line of the book; with `grows` in place of the one of its key, if there is one."""

    def put_items(self, action_id: bytes, items: Sequence[ActionItem]) -> None:
        """The items of an action, in place of the former."""

    def decision(self, event_id: bytes) -> DecisionEntry | None: ...
    def put_decision(self, entry: DecisionEntry) -> None: ...
    def order_changes(self, conversion_id: bytes) -> list[OrderChange]: ...
    def put_order_change(self, change: OrderChange) -> None: ...

    def put_setting(self, setting: Setting) -> None: ...

    def tally(self, key: str) -> int: ...
    def put_tally(self, key: str, brand: int, used: int) -> None: ...

    def click_record(self, click_id: bytes) -> bytes | None:
        """The record of a click that is on the log."""

    def click_ms(self, click_id: bytes) -> int | None:
        """When that click was accepted, as the engine takes it: never ahead of the log's time."""

    def standing(self, click_id: bytes) -> ClickStanding | None: ...
    def put_standing(self, standing: ClickStanding) -> None: ...
    def standings_of_day(self, program: int, partner: int, day: str) -> list[ClickStanding]:
        """In the order of click ids."""

    def click_day(self, key: DayKey) -> ClickDay | None: ...
    def put_click_day(self, day: ClickDay) -> None: ...
    def due_click_days(self, until_ms: int, count: int, brand: int | None) -> list[ClickDay]:
        """Days of the partition due by then, the earliest first; of one brand if named."""
