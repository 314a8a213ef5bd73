"""A log with clicks of all kinds, and a naive recount of the ledger's rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgpack
import sqlalchemy as sa

from book_tools import BRAND, PROGRAM, Log, event
from headwater.book.book import Book
from headwater.ledger import matching
from headwater.ledger.engine import Ledger
from headwater.ledger.matching import Rollups
from headwater.ledger.rollup_tables import (
    CLICK_MEASURES,
    DAY_QUARTERS,
    DAYS,
    DIMENSIONS,
    EIGHT_DAYS,
    HOUR_QUARTERS,
    QUARTER_MS,
    QUARTERS,
    SALE_MEASURES,
    SPANS,
    SUB_IDS_REST,
    Grain,
)
from headwater.ledger.schema import (
    actions,
    click_rollup_changes,
    click_rollups,
    clicks,
    conversions,
    credit_shares,
    rollup_marks,
    sale_rollups,
)
from headwater.matcher.ordering import ordered
from headwater.model.devices import device_of
from headwater.model.records import (
    ClickBody,
    Client,
    Flag,
    Kind,
    Network,
    Record,
    Source,
    Trust,
    decode,
    encode,
)
from ledger_tools import acquired, batch

AGENTS = {
    "": None,
    "desktop": "Mozilla/5.0 (X11; Linux x86_64)",
    "ios": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5)",
    "android": "Mozilla/5.0 (Linux; Android 10)",
}
CELL = ("program", "bucket", *DIMENSIONS)
Cells = dict[tuple[Any, ...], dict[str, int]]


class Traffic(Log):
    """A log whose clicks differ in all that is counted apart."""

    def visit(
        self,
        partner: int = 1,
        *,
        program: int = PROGRAM,
        link: int = 1,
        sub1: str = "",
        country: str | None = None,
        device: str = "",
        verdict: str = "accept",
        counted: str = "counted",
        is_unique: int = 1,
        flags: int = 0,
        late_ms: int = 0,
    ) -> bytes:
        # As real ones: the time first, by which lists look for clicks.
        name = (self.now_ms + 1000).to_bytes(6, "big") + event(next(self._numbers))[6:]
        network = Network(None, None, 0, country, None)
        client = Client(None, AGENTS[device], None, network if country else None)
        params = {"sub2": "x", "sub1": sub1} if sub1 else {}
        body = ClickBody(program, partner, link, flags, (), params, client)
        at_ms = self.now_ms + 1000 - late_ms
        record = encode(
            Record(Kind.CLICK, name, BRAND, at_ms, None, Trust.BROWSER, Source.LINK, body)
        )
        head = [name, BRAND, program, partner, link, at_ms, at_ms, 2, 1]
        self.add("clicks", [*head, flags, verdict, counted, is_unique, 0, 0, b"", record])
        return name


def commit_all(
    ledger: Ledger,
    log: Log,
    cuts: Iterable[int] = (),
    *,
    restarts: bool = False,
    rollups: Rollups | None = None,
) -> None:
    """Commit the log, cut into batches, each at the time of its last step; with `restarts` by
    another matcher each, with `rollups` by the one they are of, which goes on."""
    book = Book(0, matching.settings_of(ledger, 0))
    row = matching.partition_rows(ledger)[0] if rollups else acquired(ledger)
    rollups = rollups or Rollups()
    for outcomes in log.outcomes(cuts):
        if restarts:
            book, rollups = Book(0, matching.settings_of(ledger, 0)), Rollups()
            row = acquired(ledger)
        made = replace(
            batch(row, **outcomes),
            time_ms=max((step[2] for step in outcomes["steps"]), default=0),
        )
        current = book
        matching.commit(
            ledger,
            [made],
            lease_until_ms=0,
            book=lambda store, batch: current.apply(  # noqa: B023
                store, batch.outcomes, ordered(batch.outcomes)
            ),
            rollups=rollups,
        )
        row = replace(row, position=made.to_position)
    log.steps.clear()


def stored(ledger: Ledger, table: sa.Table, grain: int) -> Cells:
    """The cells of a grain that are not all zero, with what waits to be added to them."""
    keys = [*CELL, *(["currency"] if "currency" in table.c else [])]
    names = [column.name for column in table.columns if column.name not in (*keys, "grain")]
    found: Cells = {}
    with ledger.read() as connection:
        for row in connection.execute(sa.select(table).where(table.c.grain == grain)).mappings():
            _add(found, names, tuple(row[name] for name in keys), **{n: row[n] for n in names})
        if table is click_rollups and grain == 0:
            for waiting in connection.scalars(sa.select(click_rollup_changes.c.cells)):
                for row in msgpack.unpackb(waiting):
                    sums = dict(zip(names, row[len(keys) :], strict=True))
                    _add(found, names, tuple(row[: len(keys)]), **sums)
    return {key: sums for key, sums in found.items() if any(sums.values())}


def _add(cells: Cells, names: Iterable[str], key: tuple[Any, ...], **sums: int) -> None:
    cell = cells.setdefault(key, dict.fromkeys(names, 0))
    for name, amount in sums.items():
        cell[name] += amount


def _read(ledger: Ledger, table: sa.Table) -> list[dict[str, Any]]:
    with ledger.read() as connection:
        rows = connection.execute(sa.select(table).order_by(*table.primary_key)).mappings()
        return [dict(row) for row in rows]


def recount(ledger: Ledger, sub_ids_max: int) -> tuple[Cells, Cells]:
    """What the cells of all dimensions should be, by the rows; log order is that of click ids."""
    own: dict[tuple[int, int, int], set[str]] = {}
    origins: dict[bytes, tuple[Any, ...]] = {}
    clicked: Cells = {}
    for row in _read(ledger, clicks):
        body = ClickBody._make(decode(row["record"]).body)
        client = Client._make(body.client)
        sub1 = body.params.get("sub1", "")
        bucket = row["accept_ms"] // QUARTER_MS
        names = own.setdefault((row["program"], row["partner"], bucket // DAY_QUARTERS), set())
        if sub1 and len(names) < sub_ids_max:
            names.add(sub1)
        origin = (
            row["link"],
            sub1 if not sub1 or sub1 in names else SUB_IDS_REST,
            (client.network[3] or "") if client.network else "",
            device_of(client.user_agent) if client.user_agent else "",
        )
        origins[row["click_id"]] = origin
        if row["flags"] & (Flag.SOFT_CLICK | Flag.IMPRESSION):
            continue
        key = (row["program"], bucket, row["partner"], *origin)
        if row["counted"] in ("test", "prefetch"):
            name = "tests" if row["counted"] == "test" else "prefetches"
            _add(clicked, CLICK_MEASURES, key, **{name: 1})
            continue
        if row["verdict"] in ("filtered", "reject"):
            name = {"filtered": "filtered", "reject": "rejected"}[row["verdict"]]
            _add(clicked, CLICK_MEASURES, key, **{name: 1})
        elif row["counted"] == "duplicate":
            _add(clicked, CLICK_MEASURES, key, duplicates=1)
        else:
            is_review = int(row["verdict"] == "review")
            _add(clicked, CLICK_MEASURES, key, uniques=row["is_unique"], reviewed=is_review)
        _add(clicked, CLICK_MEASURES, key, clicks=1)
    return clicked, _recount_sales(ledger, origins)


def _recount_sales(ledger: Ledger, origins: dict[bytes, tuple[Any, ...]]) -> Cells:
    nowhere = (0, "", "", "")
    sold: Cells = {}
    given: dict[bytes, list[dict[str, Any]]] = {}
    for credit in _read(ledger, credit_shares):
        given.setdefault(credit["conversion_id"], []).append(credit)
    statuses = {
        "attributed": "attributed_ppm",
        "unattributed": "unattributed_ppm",
        "rejected": "rejected_ppm",
        "pending": "waiting_ppm",
    }
    for row in _read(ledger, conversions):
        nobody = [{"partner": 0, "click_id": None, "share_ppm": 1_000_000}]
        shares = given.get(row["conversion_id"], nobody)
        left_minor, left_ppm = row["amount_minor"], sum(each["share_ppm"] for each in shares)
        # From the last to the first: what remains is the floor of what remains to be shared.
        parts = []
        for each in reversed(shares):
            rest_ppm = left_ppm - each["share_ppm"]
            whole = sum(other["share_ppm"] for other in shares)
            rest_minor = row["amount_minor"] * rest_ppm // whole
            parts.append((each, left_minor - rest_minor))
            left_minor, left_ppm = rest_minor, rest_ppm
        for each, part_minor in parts:
            origin = origins.get(each["click_id"], nowhere)
            bucket = row["accept_ms"] // QUARTER_MS
            key = (row["program"], bucket, each["partner"], *origin, row["currency"])
            share_ppm = each["share_ppm"]
            if row["flags"] & Flag.TEST:
                _add(sold, SALE_MEASURES, key, tests_ppm=share_ppm)
                continue
            _add(sold, SALE_MEASURES, key, **{statuses[row["status"]]: share_ppm})
            if row["status"] == "attributed":
                reviewed = share_ppm if row["verdict"] == "review" else 0
                _add(sold, SALE_MEASURES, key, order_minor=part_minor, reviewed_ppm=reviewed)
    for row in _read(ledger, actions):
        if row["flags"] & 1:
            continue
        origin = origins.get(row["click_id"], nowhere)
        bucket = row["tracked_ms"] // QUARTER_MS
        key = (row["program"], bucket, row["partner"], *origin, row["payout_currency"])
        is_kept = row["state"] != "reversed"
        sums = {
            f"{row['state']}_actions": 1,
            f"{row['state']}_minor": row["payout_minor"],
            "compensated_minor": row["compensated_minor"],
            "over_cap_actions": int(bool(row["flags"] & 2)),
            "revenue_minor": row["revenue_minor"] if is_kept else 0,
        }
        _add(sold, SALE_MEASURES, key, **sums)
    return {key: sums for key, sums in sold.items() if any(sums.values())}


def marks(ledger: Ledger) -> dict[int, Any]:
    """How far programs are summed up."""
    with ledger.read() as connection:
        return {row.program: row for row in connection.execute(sa.select(rollup_marks))}


def faults(ledger: Ledger, sub_ids_max: int) -> list[str]:
    """What of the rollups is not what the rows say."""
    found = []
    upto_of = marks(ledger)
    counted = zip((click_rollups, sale_rollups), recount(ledger, sub_ids_max), strict=True)
    for table, expected in counted:
        if stored(ledger, table, 0) != expected:
            found.append(f"{table.name} is not what the rows say")
        for grain in (*QUARTERS, *DAYS, *SPANS, EIGHT_DAYS):
            upto = {program: _upto(mark, grain) for program, mark in upto_of.items()}
            if stored(ledger, table, grain.number) != _summed(expected, grain, upto):
                found.append(f"{table.name} of grain {grain.number}")
    return found


def _upto(mark: Any, grain: Grain) -> int:
    if grain in SPANS:
        return int(mark.spanned)
    return int(mark.folded if grain in QUARTERS else mark.folded - mark.folded % HOUR_QUARTERS)


def _summed(cells: Cells, grain: Grain, upto: dict[int, int]) -> Cells:
    found: Cells = {}
    for key, sums in cells.items():
        program, bucket, *rest = key
        if bucket >= upto[program]:
            continue
        values = dict(zip(DIMENSIONS, rest, strict=False))
        kept = [
            values[name] if name in grain.dimensions else (0 if name in ("partner", "link") else "")
            for name in DIMENSIONS
        ]
        first = bucket - bucket % grain.quarters
        _add(found, sums, (program, first, *kept, *rest[len(DIMENSIONS) :]), **sums)
    return {key: sums for key, sums in found.items() if any(sums.values())}
