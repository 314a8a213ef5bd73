"""A console on its real ledger, and orders that come to it as the matcher would bring them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from console_tools import Reply, RunningConsole, fresh
from courier_tools import KEY, LOOPBACK, Partner
from headwater import clock, ids
from headwater.book import pixels as stage
from headwater.courier.egress import Egress
from headwater.courier.service import Courier
from headwater.ledger import matching
from headwater.ledger.pixel_store import PixelStore
from headwater.ledger.schema import actions, config_outbox, event_types, firings
from headwater.model.pixels import Earned, Told
from headwater.model.records import ControlBody, Flag, decode
from ledger_tools import acquired, batch, conversion_outcome
from pixel_tools import earned, told

# Firings of another season are too old to be sent.
NOW_MS = clock.now_ms()
TEMPLATE = "https://partner.example/p?id={click_id}&o={order_id}&test={is_test}&token=abc"


class Scene:
    """A brand's program with its event types, and partners that are in it."""

    def __init__(self, console: RunningConsole, partners: int = 1) -> None:
        self.console = console
        self.brand, self.program = console.brand_and_program(fresh("px"))
        for kind in ("sale", "lead"):
            console.made(f"/v1/programs/{self.program}/event-types", {"code": kind, "kind": kind})
        self.partners = [self.partner() for _ in range(partners)]
        self._fed = 0
        self._orders = 0

    @property
    def ledger(self) -> Any:
        return self.console.ledger

    def partner(self) -> str:
        """One more partner, enrolled."""
        made: str = self.console.made("/v1/partners", {"name": "p"})["id"]
        self.console.made(f"/v1/programs/{self.program}/partners/{made}", {}, "PUT")
        return made

    def key(self, partner: str | None = None, **bound: str) -> str:
        """A key of the partner that may read."""
        body = {"scopes": ["read"], "partner_id": partner or self.partners[0], **bound}
        key: str = self.console.made("/v1/keys", body)["key"]
        return key

    # ---- Pixels

    def path(self, pixel: str | None = None, partner: str | None = None) -> str:
        of_partner = f"/v1/partners/{partner or self.partners[0]}/pixels"
        return of_partner if pixel is None else f"{of_partner}/{pixel}"

    def create(self, partner: str | None = None, **fields: Any) -> Reply:
        """The answer to a request for a plain postback of the program."""
        body = {
            "program_id": self.program,
            "commission": "cpa",
            "type": "postback",
            "template": TEMPLATE,
        }
        return self.console.call("POST", self.path(None, partner), {**body, **fields})

    def pixel(self, partner: str | None = None, **fields: Any) -> Any:
        """A pixel that has to be made."""
        reply = self.create(partner, **fields)
        assert reply.status == 201, reply
        return reply.json

    def read(self, pixel: str) -> Any:
        return self.console.call("GET", self.path(pixel)).json

    # ---- The log

    def in_lane(self, *steps: Callable[[PixelStore], None]) -> None:
        """Steps in one transaction of the brand's lane, after what the console has told it."""
        with self.ledger.write() as connection:
            self._lane = connection.scalar(
                sa.text("SELECT partition FROM brands WHERE id = :id"), {"id": int(self.brand[4:])}
            )
            store = PixelStore(self.ledger, connection, self._lane)
            self._feed(connection, store)
            for step in steps:
                step(store)
            store.flush()

    def _feed(self, connection: sa.Connection, store: PixelStore) -> None:
        rows = connection.execute(
            sa.select(config_outbox)
            .where(config_outbox.c.revision > self._fed, config_outbox.c.partition == self._lane)
            .order_by(config_outbox.c.revision)
        ).all()
        for row in rows:
            self._fed = row.revision
            body = ControlBody(*decode(row.control).body)
            if body.kind == "pixel":
                stage.on_pixel(store, body.number, body.revision, body.value)

    def order(
        self,
        *,
        partner: str | None = None,
        kind: str = "sale",
        said: Told | None = None,
        at_ms: int = NOW_MS,
        with_action: bool = True,
        **changed: Any,
    ) -> str:
        """An order that a partner has credit for, with its action; the conversion's id."""
        self._orders += 1
        conversion_id = ids.event_id(at_ms)
        owner = int((partner or self.partners[0])[4:])
        brand, program = int(self.brand[4:]), int(self.program[4:])
        with self.ledger.read() as connection:
            event_type = connection.scalar(
                sa.select(event_types.c.id).where(
                    event_types.c.program_id == program, event_types.c.code == kind
                )
            )
        made = earned(
            brand=brand,
            program=program,
            partner=owner,
            event_type=event_type,
            event_kind=kind,
            event_code=kind,
            **changed,
        )._replace(
            action_id=ids.event_id(at_ms),
            conversion_id=conversion_id,
            order_id=f"A-{self._orders}",
        )
        self._commit(made, conversion_id)
        if with_action:
            self._act(made)
            self.in_lane(lambda store: stage.on_action(store, made, said or told(), at_ms))
        self.last = made
        return ids.event_text("cnv", conversion_id)

    def _commit(self, made: Earned, conversion_id: bytes) -> None:
        row = conversion_outcome(
            conversion_id,
            brand=made.brand,
            program=made.program,
            event_type=made.event_type,
            order_id=str(made.order_id),
            line=made.line,
            flags=int(Flag.TEST) if made.is_test else 0,
            credits_given=((made.partner, made.click_id, 1_000_000),),
        )
        owner = acquired(self.ledger)
        matching.commit(self.ledger, [batch(owner, conversions=[row])], lease_until_ms=0)

    def _act(self, made: Earned) -> None:
        named = dict.fromkeys(actions.c.keys(), 0) | {
            "action_id": made.action_id,
            "brand": made.brand,
            "program": made.program,
            "partner": made.partner,
            "event_type": made.event_type,
            "conversion_id": made.conversion_id,
            "order_id": made.order_id,
            "line": made.line,
            "state": made.state,
            "tracked_ms": made.tracked_ms,
        }
        named |= {"currency": made.currency, "payout_currency": made.payout_currency}
        texts = "kind original_state rate_json rule charges_json"
        empty = dict.fromkeys([*texts.split(), "change_json"], "")
        nothing = dict.fromkeys(["click_id", "click_day", "reason", "due_ms", "locked_ms"])
        with self.ledger.write() as connection:
            connection.execute(sa.insert(actions).values(**(named | empty | nothing)))

    # ---- The courier

    def deliver(self, *replies: bytes | str) -> Partner:
        """Send what is due, each firing once; every URL is a server's that gives the replies."""
        found = Partner()
        found.replies = list(replies)

        async def body() -> None:
            server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            local = f"http://127.0.0.1:{port}/"
            waiting = self._waiting()
            with self.ledger.write() as connection:
                for event in waiting:
                    row = firings.c.event_id == event
                    url = connection.scalar(sa.select(firings.c.url).where(row))
                    moved = re.sub(r"^https?://[^/]+/", local, str(url))
                    connection.execute(sa.update(firings).where(row).values(url=moved, due_ms=0))
            egress = Egress(LOOPBACK)
            courier = Courier(self.ledger, egress, KEY)
            try:
                for _ in range(6000):
                    await courier.turn()
                    left = self._waiting()
                    if all(left.get(event, -1) != made for event, made in waiting.items()):
                        return
                    await asyncio.sleep(0.01)
                raise AssertionError("not attempted")
            finally:
                await egress.close()
                server.close()

        asyncio.run(body())
        return found

    def _waiting(self) -> dict[bytes, int]:
        """Firings of the scene's partners that wait, and how often each was attempted."""
        column = firings.c
        numbers = [int(partner[4:]) for partner in self.partners]
        with self.ledger.read() as connection:
            rows = connection.execute(
                sa.select(column.event_id, column.attempts).where(
                    column.state == "waiting", column.partner.in_(numbers)
                )
            )
            return {row[0]: row[1] for row in rows}

    # ---- What is told

    def told_of(self, conversion: str, key: str = "admin") -> Any:
        reply = self.console.call("GET", f"/v1/conversions/{conversion}/pixels", key=key)
        assert reply.status == 200, reply
        return reply.json

    def explained(self, conversion: str, key: str = "admin") -> Any:
        """The one walk of an order, as [step, answer] pairs and the code of the last."""
        path = f"/v1/conversions/{conversion}/pixels/explain"
        reply = self.console.call("GET", path, key=key)
        assert reply.status == 200, reply
        (walk,) = reply.json["walks"]
        return walk
