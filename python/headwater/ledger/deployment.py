"""What holds for the whole deployment, and is told on every lane: fraud rules, the list of bots.

A brand hears of it from its own lane, so that no decision depends on what another lane has come
to. The numbers of such objects hold the lane: an object is told by one lane alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from headwater import clock, limits
from headwater.ledger import audit
from headwater.ledger.engine import Ledger
from headwater.ledger.outbox import Change, announce, take_revisions
from headwater.ledger.schema import config_outbox, network_rules, partitions
from headwater.model.records import ControlBody, decode

FRAUD_RULES: Final = "fraud_rules"
BOT_LIST: Final = "bot_list"
# The number of a part is its lane's first and its own.
_CHUNKS_A_LANE: Final = 1024
_ONLY: Final = 1


# ---- Fraud rules ---------------------------------------------------------------------------


def read_network_rules(ledger: Ledger) -> dict[str, Any]:
    """The fraud rules of the deployment; empty while nothing was ever said."""
    with ledger.read() as connection:
        found: dict[str, Any] | None = connection.scalar(sa.select(network_rules.c.fraud))
        return found or {}


def put_network_rules(ledger: Ledger, rules: dict[str, Any]) -> int:
    """Put rules in force in place of those there are; the revision to wait for.

    One transaction of as many rows as there are lanes, so that no crash leaves brands under
    different rules.
    """
    with ledger.write() as connection:
        lanes = _lanes(connection)
        first = take_revisions(connection, len(lanes))
        last = first + len(lanes) - 1
        columns = {"fraud": rules, "revision": last, "updated_ms": clock.now_ms()}
        before = connection.scalar(sa.select(network_rules.c.fraud)) or {}
        change = {"member": "fraud", "before": before, "after": rules}
        audit.note(connection, [("network", "fraud-rules", "changed", [change])])
        if not connection.execute(sa.update(network_rules).values(columns)).rowcount:
            connection.execute(sa.insert(network_rules).values(id=_ONLY, **columns))
        announce(connection, first, [_of_lane(FRAUD_RULES, lane, lane, rules) for lane in lanes])
        return last


# ---- The list of bots ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BotList:
    """Regular expressions of crawlers' user agents, in parts that fit a record each."""

    version: str
    chunks: Sequence[Sequence[str]]


def announce_bot_list(ledger: Ledger, bots: BotList) -> int | None:
    """Tell every lane of a list, unless it was told of this version last; the newest revision
    written, or None.

    A lane is told all parts in one transaction. With many lanes there are several transactions:
    whoever comes after a crash between them goes on with the lanes that are left.
    """
    newest = None
    lanes_at_once = max(1, (limits.TRANSACTION_ROWS_MAX - 1) // len(bots.chunks))
    while True:
        with ledger.write() as connection:
            lanes = [
                lane
                for lane in _lanes(connection)
                if _told_version(connection, lane) != bots.version
            ][:lanes_at_once]
            if not lanes:
                return newest
            changes = [change for lane in lanes for change in _chunks(bots, lane)]
            first = take_revisions(connection, len(changes))
            announce(connection, first, changes)
            newest = first + len(changes) - 1


def _chunks(bots: BotList, lane: int) -> list[Change]:
    count = len(bots.chunks)
    return [
        _of_lane(
            BOT_LIST,
            lane * _CHUNKS_A_LANE + chunk,
            lane,
            {
                "version": bots.version,
                "chunk": chunk,
                "chunks": count,
                "patterns": list(patterns),
            },
        )
        for chunk, patterns in enumerate(bots.chunks)
    ]


def _told_version(connection: sa.Connection, lane: int) -> str | None:
    """The version of the first part that a lane was told of last: the others came with it."""
    columns = config_outbox.c
    control = connection.scalar(
        sa.select(columns.control)
        .where(columns.object == BOT_LIST, columns.number == lane * _CHUNKS_A_LANE)
        .order_by(columns.revision.desc())
        .limit(1)
    )
    if control is None:
        return None
    value: Any = ControlBody._make(decode(control).body).value
    return str(value["version"])


def _lanes(connection: sa.Connection) -> list[int]:
    return list(
        connection.scalars(sa.select(partitions.c.partition).order_by(partitions.c.partition))
    )


def _of_lane(kind: str, number: int, lane: int, value: dict[str, Any]) -> Change:
    return Change(kind, number, 0, value, None, for_edges=False, partition=lane)
