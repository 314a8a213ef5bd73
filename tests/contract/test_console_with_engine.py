"""The console and the engine on one log: what one writes the other takes, and the reverse.

Method: a real console, Redis and ledger; the matcher's part is played in one thread, so that each
step is where the test says.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from console_tools import PARTITIONS, RunningConsole, console_in, fresh, program_body, until
from headwater import _core, clock, identity_key, ids
from headwater.console import bot_list
from headwater.ledger import matching, outbox, queries
from headwater.ledger.schema import brands
from headwater.matcher.partition import Partition
from headwater.matcher.recovery import Entry, new_engine
from headwater.model.records import (
    NO_CLIENT,
    ClickBody,
    ControlBody,
    ConversionBody,
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

PRODUCER = 77


class Matcher:
    """Applies what is on the log, and commits it, when it is told to."""

    def __init__(self, console: RunningConsole) -> None:
        self._console = console
        rows = matching.acquire(
            console.ledger, range(PARTITIONS), "tests", clock.now_ms(), 60_000, force=True
        )
        self._partitions = {
            row.partition: Partition(row, new_engine(row.partition), console.config.data, {})
            for row in rows
        }

    def step(self) -> None:
        for number, partition in self._partitions.items():
            entries = self._entries(number, partition.position)
            if entries:
                batch = partition.apply(entries)
                assert not batch.outcomes["quarantined"]
                matching.commit(self._console.ledger, [batch], lease_until_ms=0)
                partition.committed(batch)

    def _entries(self, number: int, after: tuple[int, int]) -> list[Entry]:
        assert self._console.store is not None
        found: Any = self._console.store.xrange(f"hw:in:{number}", f"({after[0]}-{after[1]}")
        entries = []
        for name, fields in found:
            ms, _, seq = name.partition(b"-")
            entries.append((int(ms), int(seq), fields[b"f"]))
        return entries

    def close(self) -> None:
        for partition in self._partitions.values():
            partition.close()


class Shop:
    """A program with an enrolled partner and a promo code, and what happens in it."""

    def __init__(self, console: RunningConsole, matcher: Matcher) -> None:
        self.console, self.matcher = console, matcher
        self.brand = console.made("/v1/brands", {"name": "a"})["id"]
        self.number = int(self.brand[4:])
        body = {**program_body(self.brand, fresh()), "attribution": {"model": "linear"}}
        self.program = console.made("/v1/programs", body)["id"]
        event_types = f"/v1/programs/{self.program}/event-types"
        self.event_type = console.made(event_types, {"code": "sale", "kind": "sale"})["id"]
        self.partner = console.made("/v1/partners", {"name": "p"})["id"]
        console.made(f"/v1/programs/{self.program}/partners/{self.partner}", {}, "PUT")
        self._sequence = 0

    def digest(self, name: str, value: str) -> bytes:
        key = identity_key.load_or_create(self.console.config.data)
        found = _core.identifier_digest(key, self.number, name, value)
        assert found is not None
        return found

    def record(self, kind: Kind, body: tuple[object, ...]) -> bytes:
        """Put an event on the log and apply it; its id."""
        now_ms = clock.now_ms()
        record = Record(
            kind, ids.event_id(now_ms), self.number, now_ms, None, Trust.SERVER, Source.S2S, body
        )
        row = queries.object_row(self.console.ledger, brands, self.number)
        assert row is not None
        self._sequence += 1
        producer = PRODUCER + self.number
        frame = _core.encode_frame(row["partition"], producer, self._sequence, [encode(record)])
        assert self.console.store is not None
        self.console.store.xadd(f"hw:in:{row['partition']}", {"f": frame})
        self.matcher.step()
        return record.event_id

    def click(self, *identifiers: tuple[int, bytes], flags: int = 0) -> bytes:
        program, partner = int(self.program[4:]), int(self.partner[4:])
        body = ClickBody(program, partner, 0, flags, identifiers, {}, NO_CLIENT)
        return self.record(Kind.CLICK, body)

    def identify(self, *identifiers: tuple[int, bytes]) -> None:
        body = IdentifyBody(int(self.program[4:]), 0, identifiers, NO_CLIENT)
        self.record(Kind.IDENTIFY, body)

    def order(self, *identifiers: tuple[int, bytes], promo_code: str | None = None) -> Any:
        """The conversion of an order, as the console reads it."""
        order_id = fresh("order")
        conversion_id = ids.event_id(clock.now_ms())
        body = ConversionBody(
            conversion_id=conversion_id,
            program=int(self.program[4:]),
            event_type=int(self.event_type[4:]),
            order_id=order_id,
            line="main",
            flags=0,
            click_id=None,
            identifiers=identifiers,
            money=Money(100, "EUR", None, None, None),
            promo_code=promo_code,
            customer_status=None,
            items=(),
            params={},
            client=NO_CLIENT,
            refused=None,
        )
        self.record(Kind.CONVERSION, body)
        return self.read(ids.event_text("cnv", conversion_id))

    def read(self, conversion_id: str, what: str = "") -> Any:
        reply = self.console.call("GET", f"/v1/conversions/{conversion_id}{what}")
        assert reply.status == 200, reply
        return reply.json

    def erased(self, **sent: Any) -> Any:
        """An erasure, committed."""
        reply = self.console.call("POST", "/v1/erasures", {"brand_id": self.brand, **sent})
        assert reply.status == 202, reply
        self.matcher.step()
        return self.console.call("GET", f"/v1/erasures/{reply.json['id']}").json


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    with console_in(tmp_path_factory.mktemp("console"), read_wait_ms=500) as running:
        yield running


@pytest.fixture(scope="module")
def matcher(console: RunningConsole) -> Iterator[Matcher]:
    playing = Matcher(console)
    yield playing
    playing.close()


@pytest.fixture
def shop(console: RunningConsole, matcher: Matcher) -> Shop:
    made = Shop(console, matcher)
    matcher.step()
    return made


def test_every_change_the_console_makes_is_taken_by_the_engine(
    console: RunningConsole, shop: Shop
) -> None:
    code = console.made(
        f"/v1/programs/{shop.program}/promo-codes", {"code": "ten", "partner_id": shop.partner}
    )
    console.call("PATCH", f"/v1/promo-codes/{code['id']}", {"status": "paused"})
    console.call("DELETE", f"/v1/promo-codes/{code['id']}")
    assert shop.erased(visitor_id="0abc")["status"] == "preview"
    for number in range(PARTITIONS):
        assert matching.uncommitted_controls(console.ledger, number) == []


def test_every_lane_takes_what_holds_for_the_deployment(
    console: RunningConsole, shop: Shop
) -> None:
    """The parts of the list of crawlers, and the network's rules, each by its own number."""
    rules = {"rules": {"IP_VELOCITY": {"low": 3, "high": 4}}, "deny": {"subs": ["junk"]}}
    assert console.call("PUT", "/v1/fraud-rules", rules).status == 200
    program = {"fraud": {"review_from": 60, "allow": {"prefixes": ["203.0.113.0/24"]}}}
    assert console.call("PATCH", f"/v1/programs/{shop.program}", program).status == 200
    partner = f"/v1/partners/{shop.partner}"
    assert console.call("PATCH", partner, {"email": "p@partner.example"}).status == 200
    taken: dict[int, list[str]] = {}

    def is_taken() -> bool:
        shop.matcher.step()
        taken.update({lane: _patterns(console, lane) for lane in range(PARTITIONS)})
        return all(taken.values())

    until(is_taken)
    published = list(dict.fromkeys(bot_list.read(())))
    assert taken == dict.fromkeys(range(PARTITIONS), published)
    assert outbox.not_committed(console.ledger) == []
    for lane in range(PARTITIONS):
        assert outbox.control_before(console.ledger, "fraud_rules", lane, None)


def _patterns(console: RunningConsole, lane: int) -> list[str]:
    """The list of crawlers, of the parts that the lane's engine has taken."""
    found: list[str] = []
    for chunk in itertools.count():
        control = outbox.control_before(console.ledger, "bot_list", lane * 1024 + chunk, None)
        if control is None:
            break
        value: Any = ControlBody._make(decode(control).body).value
        found += value["patterns"]
    return found


def test_a_code_credits_its_partner_without_a_click(console: RunningConsole, shop: Shop) -> None:
    console.made(
        f"/v1/programs/{shop.program}/promo-codes", {"code": "Ten ", "partner_id": shop.partner}
    )
    shop.matcher.step()
    read = shop.order(promo_code=" tEN")
    assert read["credits"] == [
        {"partner_id": shop.partner, "click_id": None, "share_ppm": 1_000_000}
    ]
    told = shop.read(read["conversion_id"], "/explain")
    (candidate,) = told["candidates"]
    assert (candidate["class"], candidate["click_id"], candidate["outcome"], told["model"]) == (
        "exclusive_coupon",
        None,
        "credited",
        "linear",
    )
    ref = read["conversion_id"]
    path = f"/v1/partners/{shop.partner}/conversions/{ref}/explain"
    (touch,) = console.call("GET", path).json["touches"]
    assert (touch["class"], touch["why"]) == ("exclusive_coupon", "it earned the credit")


def test_an_erasure_forgets_and_explanations_no_longer_show_it(shop: Shop) -> None:
    visitor = (int(IdentifierType.VISITOR), shop.digest("visitor_id", "0abc"))
    customer = (int(IdentifierType.CUSTOMER), shop.digest("customer_id", "C-1"))
    click = shop.click(visitor)
    shop.identify(customer, visitor)
    before = shop.order(customer)
    assert [credit["click_id"] for credit in before["credits"]] == [ids.event_text("clk", click)]
    preview = shop.erased(customer_id="C-1", scope="person")
    assert preview["status"] == "preview"
    assert {each["type"] for each in preview["identifiers"]} >= {"customer_id", "visitor_id"}
    assert preview["clicks"] >= 1
    shown = shop.read(before["conversion_id"], "/explain")
    done = shop.erased(customer_id="C-1", scope="person", dry_run=False)
    assert (done["status"], done["identifiers"]) == ("done", preview["identifiers"])
    told = shop.read(before["conversion_id"], "/explain")
    assert {each["key"] for each in told["members"]} == {"erased"}
    assert {each["key"] for each in shown["members"]}.isdisjoint({"erased"})
    assert visitor[1][:4].hex() not in str(told)
    # Money stays, and the next order finds nothing.
    assert shop.read(before["conversion_id"])["credits"] == before["credits"]
    assert shop.order(customer)["credits"] == []


@pytest.mark.parametrize(("flags", "name"), [(32, "soft_click"), (64, "impression")])
def test_touches_that_are_no_clicks_are_ranked_as_such(shop: Shop, flags: int, name: str) -> None:
    visitor = (int(IdentifierType.VISITOR), shop.digest("visitor_id", f"0abc{flags}"))
    touch = shop.click(visitor, flags=flags)
    read = shop.order(visitor)
    (candidate,) = shop.read(read["conversion_id"], "/explain")["candidates"]
    assert (candidate["class"], candidate["outcome"]) == (name, "credited")
    click_id = ids.event_text("clk", touch)
    assert shop.console.call("GET", f"/v1/clicks/{click_id}").json["touch_type"] == name


def test_what_is_not_credited_is_reported_with_its_nearest_miss(shop: Shop) -> None:
    visitor = (int(IdentifierType.VISITOR), shop.digest("visitor_id", "0miss"))
    click = shop.click(visitor)
    shop.console.call(
        "PUT", f"/v1/programs/{shop.program}/partners/{shop.partner}", {"status": "paused"}
    )
    shop.matcher.step()
    read = shop.order(visitor)
    assert read["reason"] == "partner_inactive"
    told = shop.console.call("GET", f"/v1/reports/unattributed?program={shop.program}").json
    assert told["counts"] == [{"reason": "partner_inactive", "count": 1}]
    (item,) = told["items"]
    assert item["nearest_miss"]["click_id"] == ids.event_text("clk", click)
    path = f"/v1/partners/{shop.partner}/conversions/{ids.event_text('clk', click)}/explain"
    answer = shop.console.call("GET", path).json
    assert [touch["outcome"] for touch in answer["touches"]] == ["partner_inactive"]
