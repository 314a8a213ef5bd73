"""The management API of money on a real console, ledger and Redis, with the engine and the book
behind it: a matcher that runs in a thread, as fast as the log grows.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from console_tools import PARTITIONS, Reply, RunningConsole, console_in, fresh, program_body, until
from headwater import _core, clock, identity_key, ids
from headwater.book.book import Book
from headwater.ledger import actions, matching, queries
from headwater.ledger.schema import book_entries, brands, click_standings
from headwater.matcher.ordering import ordered
from headwater.matcher.partition import Partition
from headwater.matcher.recovery import new_engine
from headwater.model.records import (
    NO_CLIENT,
    ClickBody,
    ConversionBody,
    IdentifierType,
    Item,
    Kind,
    Money,
    Record,
    Source,
    Trust,
    encode,
)

PRODUCER = 77
TEN_MINUTES_MS = 600_000
TEN_PERCENT: dict[str, Any] = {"default": {"kind": "percent", "ppm": 100_000}}
QUARTER_CENT: dict[str, Any] = {"default": {"kind": "flat", "amount_micros": 250_000}}


class Matcher:
    """Applies what is on the log and commits it with the book, until it is closed."""

    def __init__(self, console: RunningConsole) -> None:
        self._console = console
        rows = matching.acquire(
            console.ledger, range(PARTITIONS), "tests", clock.now_ms(), 60_000, force=True
        )
        self._partitions = {
            row.partition: Partition(row, new_engine(row.partition), console.config.data, {})
            for row in rows
        }
        self._books = {number: Book(number) for number in self._partitions}
        self._stop = threading.Event()
        self.is_paused = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.005):
            if not self.is_paused.is_set():
                self._step()

    def _step(self) -> None:
        for number, partition in self._partitions.items():
            found: Any = self._console.store and self._console.store.xrange(
                f"hw:in:{number}", f"({partition.position[0]}-{partition.position[1]}"
            )
            entries = [(*map(int, name.split(b"-")), fields[b"f"]) for name, fields in found]
            if entries:
                batch = partition.apply(entries)  # type: ignore[arg-type]
                matching.commit(
                    self._console.ledger,
                    [batch],
                    lease_until_ms=0,
                    book=lambda store, batch: self._books[batch.partition].apply(
                        store, batch.outcomes, ordered(batch.outcomes)
                    ),
                )
                partition.committed(batch)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(60)
        for partition in self._partitions.values():
            partition.close()


class Market:
    """A brand with a program, two partners, and what visitors do; `call` as the console's."""

    def __init__(self, console: RunningConsole, matcher: Matcher) -> None:
        self.console, self.matcher = console, matcher
        self.brand = console.made("/v1/brands", {"name": "Brand"})["id"]
        self.code = fresh("shop")
        self.program = console.made("/v1/programs", program_body(self.brand, self.code))["id"]
        self.sale = self._event_type("sale")
        self.partner, self.rival = self._partner(), self._partner()
        self._sequence = 0

    def _event_type(self, kind: str) -> str:
        path = f"/v1/programs/{self.program}/event-types"
        made: str = self.console.made(path, {"code": kind, "kind": kind})["id"]
        return made

    def _partner(self) -> str:
        partner: str = self.console.made("/v1/partners", {"name": "p"})["id"]
        self.console.made(f"/v1/programs/{self.program}/partners/{partner}", {}, "PUT")
        return partner

    def with_clicks_paid(self) -> None:
        """The program pays clicks from now on: an event type, and no code on the site."""
        self._event_type("click")

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> Reply:
        return self.console.call(method, path, body, **options)

    def terms(self, **members: Any) -> Any:
        body = {
            "events": {"sale": TEN_PERCENT},
            "locking": {"kind": "tracked", "days": 30},
            **members,
        }
        return self.console.made(f"/v1/programs/{self.program}/terms", body)

    def key(self, *scopes: str, **bounds: str) -> str:
        made: str = self.console.made("/v1/keys", {"scopes": list(scopes), **bounds})["key"]
        return made

    # ---- What visitors do

    def _record(self, kind: Kind, body: tuple[object, ...], ago_ms: int = 0) -> bytes:
        now_ms, number = clock.now_ms() - ago_ms, int(self.brand[4:])
        record = Record(
            kind, ids.event_id(now_ms), number, now_ms, None, Trust.SERVER, Source.S2S, body
        )
        row = queries.object_row(self.console.ledger, brands, number)
        assert row is not None
        assert self.console.store is not None
        self._sequence += 1
        frame = _core.encode_frame(
            row["partition"], PRODUCER + number, self._sequence, [encode(record)]
        )
        self.console.store.xadd(f"hw:in:{row['partition']}", {"f": frame})
        return record.event_id

    def click(self, partner: str | None = None, ago_ms: int = 0) -> bytes:
        """A click on the log; its id."""
        number = int((partner or self.partner)[4:])
        visitor = ids.event_id(clock.now_ms())
        body = ClickBody(
            *(int(self.program[4:]), number, 0, 0),
            ((int(IdentifierType.VISITOR), visitor),),
            *({}, NO_CLIENT),
        )
        return self._record(Kind.CLICK, body, ago_ms)

    def counted_click(self, partner: str | None = None, ago_ms: int = 0) -> str:
        """A click that the book has counted, of a program that pays clicks; its id."""
        click_id = self.click(partner, ago_ms)

        def is_there() -> bool:
            with self.console.ledger.read() as connection:
                of_click = click_standings.c.click_id == click_id
                return bool(connection.scalar(sa.select(sa.func.count()).where(of_click)))

        until(is_there)
        return ids.event_text("clk", click_id)

    def conversion_id(self, order_id: str) -> bytes:
        """As the edge makes it of the order's own id."""
        key = identity_key.load_or_create(self.console.config.data)
        numbers = [str(int(text[4:])) for text in (self.brand, self.program, self.sale)]
        return _core.conversion_digest(key, [*numbers, order_id, "main"])

    def sale_of(
        self,
        amount_minor: int = 10_000,
        *,
        partner: str | None = None,
        order_id: str | None = None,
        currency: str = "EUR",
        items: tuple[Item, ...] = (),
    ) -> str:
        """A sale that a click of the partner brought, decided; the id of its action."""
        order_id = order_id or fresh("order")
        conversion_id = self.conversion_id(order_id)
        # Whoever buys a moment after the click is looked at by a person.
        click_id = self.click(partner, TEN_MINUTES_MS)
        body = ConversionBody(
            conversion_id=conversion_id,
            program=int(self.program[4:]),
            event_type=int(self.sale[4:]),
            order_id=order_id,
            line="main",
            flags=0,
            click_id=click_id,
            identifiers=(),
            money=Money(amount_minor, currency, None, None, None),
            promo_code=None,
            customer_status=None,
            items=items,
            params={},
            client=NO_CLIENT,
            refused=None,
        )
        self._record(Kind.CONVERSION, body)
        until(lambda: actions.actions_of_conversion(self.console.ledger, conversion_id))
        (action,) = actions.actions_of_conversion(self.console.ledger, conversion_id)
        return ids.event_text("act", action["action_id"])

    def moved(self, action_id: str, verb: str, status: int = 200, **body: Any) -> Any:
        """The answer of a move of an action."""
        reply = self.call("POST", f"/v1/actions/{action_id}/{verb}", body)
        assert reply.status == status, reply.json
        return reply.json

    def booked(self) -> dict[str, int]:
        """What stands on each account, in minor units, of this market's program."""
        of_program = book_entries.c.program == int(self.program[4:])
        summed = sa.func.sum(book_entries.c.amount_minor)
        statement = sa.select(book_entries.c.account, summed).where(of_program)
        with self.console.ledger.read() as connection:
            rows = connection.execute(statement.group_by(book_entries.c.account))
            return {account: int(amount) for account, amount in rows if amount}


@contextmanager
def running_matcher(folder: Path) -> Iterator[tuple[RunningConsole, Matcher]]:
    with console_in(folder, read_wait_ms=10_000) as console:
        matcher = Matcher(console)
        try:
            yield console, matcher
        finally:
            matcher.close()
