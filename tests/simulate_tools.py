"""A ledger and an archive made by hand, so that weeks of a program's traffic pass at once."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headwater import _core, ids
from headwater.book.book import Book
from headwater.config import Config
from headwater.ledger import enrolling, matching, objects, outbox, spreads
from headwater.ledger.actions import ActionFilter, action_page
from headwater.ledger.book_store import BookStore, settings_of
from headwater.ledger.engine import Ledger
from headwater.ledger.matching import PartitionBatch
from headwater.ledger.objects import Origin
from headwater.ledger.terms import Owner, create_terms
from headwater.matcher.ordering import ordered
from headwater.matcher.partition import Partition
from headwater.matcher.recovery import rebuild
from headwater.model.book import Booked
from headwater.model.records import (
    NO_CLIENT,
    ClickBody,
    ConversionBody,
    DecisionBody,
    IdentifierType,
    IdentifyBody,
    Kind,
    Money,
    Record,
    Source,
    Trust,
    decode,
    encode,
)
from headwater.ops.simulate import run_simulate
from ledger_tools import PROGRAM, acquired, ledger_in
from terms_tools import value_of

T0 = 1_800_000_000_000
DAY_MS = 86_400_000
HOUR_MS = 3_600_000
SINCE = "2027-01-01T00:00:00Z"


def visitor(number: int) -> tuple[int, bytes]:
    return (IdentifierType.VISITOR, number.to_bytes(16, "big"))


def customer(number: int) -> tuple[int, bytes]:
    return (IdentifierType.CUSTOMER, number.to_bytes(16, "big"))


def profile(number: int) -> tuple[int, bytes]:
    return (IdentifierType.PROFILE, number.to_bytes(16, "big"))


def event_id_of(record: bytes) -> bytes:
    return decode(record).event_id


def conversion_id(order: int) -> bytes:
    return order.to_bytes(16, "big")


def order_text(order: int) -> str:
    return ids.event_text("cnv", conversion_id(order))


class Scene:
    """A brand with a program, an event type and partners; what is sent is committed at once."""

    def __init__(self, ledger: Ledger, data: Path) -> None:
        self.ledger = ledger
        self.data = data
        self.brand, self.program = self.make("check")
        self.event_type = self._event_type()
        columns = {"email": "p@partners.example", "status": "active"}
        self.partners = [
            int(
                objects.create_partner(
                    ledger, Origin(), columns={**columns, "name": f"Partner {n}"}
                ).row["id"]
            )
            for n in range(3)
        ]
        self._sequence = 1
        self.partition = self.owner()
        self.book = Book(0)
        self.publish(T0)

    def make(self, code: str) -> tuple[int, int]:
        """Numbers of a brand and its program."""
        brand = objects.create_brand(self.ledger, Origin(), name=f"Brand of {code}").row["id"]
        columns = {**PROGRAM, "code": code, "click_window_seconds": 10 * 86_400}
        program = objects.create_program(self.ledger, Origin(), brand=brand, columns=columns)
        return brand, program.row["id"]

    def _event_type(self) -> int:
        saved = objects.create_event_type(
            self.ledger, Origin(), program=self.program, code="sale", kind="sale"
        )
        assert saved is not None
        return int(saved.row["id"])

    def owner(self) -> Partition:
        """The partition in the hands of a process that has just started."""
        row = acquired(self.ledger)
        engine = rebuild(self.ledger, self.data, row)
        return Partition(row, engine, self.data, matching.quarantined(self.ledger, 0))

    def _keep_book(self, store: BookStore, batch: PartitionBatch) -> Booked:
        return self.book.apply(store, batch.outcomes, ordered(batch.outcomes))

    def terms(self, event: dict[str, Any], partner: int | None = None, **members: Any) -> None:
        """Put terms in force that pay `event` for a sale; of one partner, or of everybody."""

        def make(owner: Owner, _now_ms: int) -> dict[str, Any]:
            value = value_of(program=self.program, partner=owner.partner, caps=[], until_ms=None)
            return {**value, **members, "events": {str(self.event_type): event}}

        reference = None if partner is None else self.partners[partner]
        asked = {"program": self.program, "partner": reference, "make": make}
        assert create_terms(self.ledger, Origin(), **asked) is not None
        self.publish(T0)

    def enrol(self, partner: int) -> None:
        """Let a partner have terms of its own."""
        pair = (self.program, self.partners[partner])
        enrolling.enrol(self.ledger, Origin(), *pair, None, identify=lambda _brand, _email: ())
        self.publish(T0)

    def tick(self, at_ms: int) -> None:
        """Say that time went on."""
        self.send(at_ms, self._record(Kind.TICK, at_ms, (), 0))

    def take_over(self) -> None:
        """Another owner, who begins another file of the archive."""
        self.partition.close()
        self.partition = self.owner()
        self.book = Book(0, settings_of(self.ledger, 0))

    def change(self, **columns: Any) -> None:
        """Change the program."""
        spreads.change_program(self.ledger, self.program, columns)

    def publish(self, at_ms: int) -> None:
        """Put what changed in the configuration on the log."""
        waiting = outbox.not_appended(self.ledger).announcements
        self.send(at_ms, *(row.control for row in waiting))
        outbox.mark_appended(self.ledger, [row.revision for row in waiting])

    def frame(self, *records: bytes) -> bytes:
        first = self._sequence
        self._sequence += len(records)
        return _core.encode_frame(0, 7, first, list(records))

    def send(self, at_ms: int, *records: bytes) -> None:
        self.commit(at_ms, self.frame(*records))

    def commit(self, at_ms: int, *frames: bytes) -> None:
        ms, seq = max(self.partition.position, (at_ms, 0))
        batch = self.partition.apply([(ms, seq + n, f) for n, f in enumerate(frames, 1)])
        matching.commit(self.ledger, [batch], lease_until_ms=0, book=self._keep_book)
        self.partition.committed(batch)

    def click(self, at_ms: int, partner: int, who: int, **fields: Any) -> bytes:
        body = ClickBody(
            fields.get("program", self.program),
            self.partners[partner],
            1,
            fields.get("flags", 0),
            (visitor(who), *fields.get("identifiers", ())),
            {},
            fields.get("client", NO_CLIENT),
        )
        return self._record(Kind.CLICK, at_ms, body, fields.get("brand", self.brand))

    def identify(self, at_ms: int, *identifiers: tuple[int, bytes]) -> bytes:
        body = IdentifyBody(self.program, 0, identifiers, NO_CLIENT)
        return self._record(Kind.IDENTIFY, at_ms, body, self.brand)

    def sale(self, at_ms: int, order: int, who: int, **fields: Any) -> bytes:
        more = fields.get("identifiers", ())
        body = ConversionBody(
            *(conversion_id(order), fields.get("program", self.program), self.event_type),
            *(fields.get("order_id", f"A-{order}"), "main", fields.get("flags", 0)),
            *(fields.get("click_id"), fields.get("only", (visitor(who), *more))),
            *(Money(1000, "EUR", None, None, None), None, None, (), {}, NO_CLIENT, None),
        )
        return self._record(Kind.CONVERSION, at_ms, body, fields.get("brand", self.brand))

    def _record(self, kind: Kind, at_ms: int, body: Any, brand: int) -> bytes:
        event = ids.event_id(at_ms)
        return encode(Record(kind, event, brand, at_ms, None, Trust.SERVER, Source.S2S, body))

    def decide(self, at_ms: int, action: str, subject: bytes, **params: str) -> None:
        """A manager's decision on the log."""
        body = DecisionBody(action, subject, params)
        self.send(at_ms, self._record(Kind.DECISION, at_ms, body, self.brand))

    def actions(self) -> list[dict[str, Any]]:
        """The actions of the ledger."""
        return action_page(self.ledger, ActionFilter(), before=None, count=99)

    def simulate(self, capsys: Any, *changes: str, **options: Any) -> Any:
        """What `--json` prints."""
        asked = {
            "program": "check",
            "since": SINCE,
            "until": None,
            "terms": None,
            "csv": None,
            **options,
        }
        code = run_simulate(Config(data=self.data), changes=list(changes), as_json=True, **asked)
        assert code == 0
        return json.loads(capsys.readouterr().out)

    def partner(self, report: Any, number: int) -> Any:
        """One partner's part of a report."""
        name = ids.object_text("prt", self.partners[number])
        (found,) = [each for each in report["partners"] if each["partner_id"] == name]
        return found


@contextlib.contextmanager
def scene_in(folder: Path) -> Iterator[Scene]:
    with ledger_in(folder, 1) as ledger:
        yield Scene(ledger, folder)


def ledger_rows(data: Path) -> str:
    """Every row of the ledger as SQL."""
    with contextlib.closing(sqlite3.connect(data / "ledger.sqlite")) as connection:
        return "\n".join(connection.iterdump())


def edit_ledger(data: Path, statement: str, *values: object) -> None:
    """Change a ledger behind the system's back."""
    with contextlib.closing(sqlite3.connect(data / "ledger.sqlite")) as connection:
        connection.execute(statement, values)
        connection.commit()
