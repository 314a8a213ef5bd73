"""The route that moves many actions: each by a decision of its own, and by itself."""

from __future__ import annotations

from typing import Any, Final

from headwater import ids, limits
from headwater.console import deciding
from headwater.console.action_shapes import BulkIn
from headwater.console.actions import event_id, filter_of, is_reached
from headwater.console.answers import Answer
from headwater.console.bodies import refused
from headwater.console.context import Console, Request
from headwater.console.deciding import Wanted, texts
from headwater.console.views import View
from headwater.errors import FieldFault
from headwater.ledger import actions
from headwater.ledger.deciding import Asked

Row = dict[str, Any]

_POSSIBLE: Final = {
    "approve": ["pending"],
    "reverse": ["pending", "approved"],
    "reset": ["approved", "reversed"],
    "pay": ["locked"],
}
"""States a move is possible from, for a filter that names none."""


class BulkItem(View):
    """What became of one of many. `status` is what it would have been answered alone."""

    index: int
    id: str
    status: int
    code: str | None
    decision_id: str | None


class Bulk(View):
    """`more`: the filter has more than one request moves; ask again."""

    items: list[BulkItem]
    more: bool


async def move_actions(console: Console, request: Request) -> Answer:
    body: BulkIn = request.body
    if (body.action_ids is None) == (body.filter is None):
        raise refused([FieldFault("action_ids", "invalid", "either ids or a filter")])
    if body.move == "reverse" and body.reason is None:
        raise refused([FieldFault("reason", "required", "a reversal has a reason")])
    named, rows, more = await _chosen(console, request, body)
    params = texts(reason=body.reason, note=body.note)
    wanted = [
        Wanted(row["brand"], f"action.{body.move}", row["action_id"], params)
        for row in (rows.get(action_id) for action_id in named)
        if row is not None
    ]
    asked = await deciding.decided(console, request, wanted)
    return Answer(Bulk(items=_items(named, rows, asked), more=more), 207)


async def _chosen(
    console: Console, request: Request, body: BulkIn
) -> tuple[list[bytes], dict[bytes, Row], bool]:
    """The ids that are meant, the actions there are, and whether there would be more."""
    if body.action_ids is not None:
        named = [
            event_id("act", text, f"action_ids.{number}")
            for number, text in enumerate(body.action_ids)
        ]
        found = await console.run(actions.actions_by_id, console.ledger, named)
        reached = {key: row for key, row in found.items() if is_reached(request, row)}
        return named, reached, False
    wanted = await filter_of(console, request, body.filter)
    if wanted.states is None:
        wanted = actions.with_states(wanted, _POSSIBLE[body.move])
    most = limits.DECISIONS_AT_ONCE_MAX
    rows = await console.run(actions.chosen, console.ledger, wanted, most + 1)
    return (
        [row["action_id"] for row in rows[:most]],
        {row["action_id"]: row for row in rows[:most]},
        len(rows) > most,
    )


def _items(named: list[bytes], rows: dict[bytes, Row], asked: list[Asked]) -> list[BulkItem]:
    """One for each that was named. Under a key that came before, those of then."""
    known = [each for each in named if each in rows]
    if [each.subject for each in asked] != known:
        return [_item(index, each.subject, each) for index, each in enumerate(asked)]
    outcomes = iter(asked)
    return [
        _item(index, action_id, next(outcomes) if action_id in rows else None)
        for index, action_id in enumerate(named)
    ]


def _item(index: int, subject: bytes, asked: Asked | None) -> BulkItem:
    status, code = deciding.outcome_of(asked)
    return BulkItem(
        index=index,
        id=ids.event_text("act", subject),
        status=status,
        code=code,
        decision_id=None if asked is None else ids.event_text("evt", asked.event_id),
    )
