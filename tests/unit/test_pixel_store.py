"""The ledger's side of partner pixels: the same as the plain reading, batch by batch."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater import _core, limits
from headwater.book import pixels as stage
from headwater.book.pixel_check import check_pixel
from headwater.errors import RequestRefused
from headwater.ledger import enrolling, firings, objects, partner_pixels
from headwater.ledger.engine import Ledger
from headwater.ledger.firing_queries import pixels_of_conversion
from headwater.ledger.objects import Origin
from headwater.ledger.pixel_store import PixelStore, client_pixels
from headwater.ledger.schema import (
    config_outbox,
    pixel_decisions,
    waiting_lead_identifiers,
    waiting_leads,
)
from headwater.ledger.schema import firings as outbox
from headwater.model.outbound import Rules
from headwater.model.pixels import ALL_PARTIALS, pixel_of
from headwater.model.records import Source, decode
from ledger_tools import ledger_in, with_program
from pixel_tools import T0, DictStore, a_lead, earned, everybody, lead_pixel, pixel, told

MINUTE_MS = 60_000
TAG = "<img src='https://partner.example/i?o={order_id}'>"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with ledger_in(tmp_path) as opened:
        yield opened


def in_batch(ledger: Ledger, *steps: Any, partition: int = 0) -> None:
    """Run steps in one transaction of a lane."""
    with ledger.write() as connection:
        store = PixelStore(ledger, connection, partition)
        for step in steps:
            step(store)
        store.flush()


def table_rows(ledger: Ledger, table: sa.Table) -> list[tuple[Any, ...]]:
    with ledger.read() as connection:
        rows = connection.execute(sa.select(table).order_by(*table.primary_key.columns))
        return [tuple(row) for row in rows]


# ---- The plain reading -----------------------------------------------------------------------

VISITORS = [(8, bytes([number]) * 16) for number in range(3)]
PIXELS = [
    lead_pixel(1),
    pixel(2),
    pixel(3, program=1, type="image", template=TAG),
    lead_pixel(4, ALL_PARTIALS, partner=2),
    lead_pixel(5, program=2, partner=2),
]


def step_of(drawn: random.Random, number: int, at_ms: int) -> Any:
    """One thing that happens on the log, by chance."""
    visitor = VISITORS[drawn.randrange(3)]
    which = drawn.randrange(1, number + 2)
    action = earned(
        which,
        event_kind=("lead", "lead", "sale")[which % 3],
        partner=(1, 1, 2, 3)[which % 4],
        program=(1, 1, 2)[which // 2 % 3],
        order_id=(None, "A", "B")[which // 3 % 3],
        is_test=which % 7 == 0,
        is_held=drawn.random() < 0.2,
    )
    said = told(
        source=drawn.choice([Source.TAG, Source.S2S]), identifiers=(visitor,) if number % 5 else ()
    )
    choice = drawn.randrange(10)
    if choice < 5:
        return lambda store: stage.on_action(store, action, said, at_ms)
    if choice < 7:
        return lambda store: stage.on_sale(
            store, brand=1, program=action.program, order_id=action.order_id,
            identifiers=[visitor], is_test=action.is_test, at_ms=at_ms,
        )  # fmt: skip
    if choice == 7:
        moved = action._replace(state=drawn.choice(["approved", "reversed"]), is_held=False)
        is_in = drawn.random() < 0.8
        return lambda store: stage.on_move(store, moved, said, at_ms, is_in=is_in)
    if choice == 8 and drawn.random() < 0.3:
        return lambda store: stage.on_close(store, action.action_id)
    if choice == 8 and drawn.random() < 0.5:
        return lambda store: store.forget_in_leads(1, [visitor, VISITORS[0]])
    own = drawn.choice(PIXELS)
    if drawn.random() < 0.1:
        return lambda store: stage.on_pixel(store, own.number, number, None)
    return lambda store: store.put_pixel(own, number)


@given(st.integers(0, 1 << 32), st.integers(1, 40))
@settings(max_examples=12, deadline=None)
def test_the_ledger_holds_what_the_plain_reading_says_however_the_log_is_cut(
    tmp_path_factory: pytest.TempPathFactory, seed: int, cut: int
) -> None:
    drawn = random.Random(seed)
    plain = DictStore()
    steps = [lambda store, each=each: store.put_pixel(each, 1) for each in PIXELS]
    at_ms = T0
    for number in range(60):
        at_ms += drawn.choice([1, 1000, 5 * MINUTE_MS])
        now_ms = at_ms
        steps.append(lambda store, now_ms=now_ms: stage.on_time(store, now_ms, everybody))
        steps.append(step_of(drawn, number, now_ms))
    with ledger_in(tmp_path_factory.mktemp("ledger")) as ledger:
        for start in range(0, len(steps), cut):
            in_batch(ledger, *steps[start : start + cut])
        for step in steps:
            step(plain)
        sent = {row[0]: row for row in table_rows(ledger, outbox)}
        assert sent.keys() == plain.firings.keys()
        for event_id, firing in plain.firings.items():
            assert sent[event_id][:11] == tuple(firing)
        decided = [tuple(each) for _, each in sorted(plain.decisions.items())]
        assert table_rows(ledger, pixel_decisions) == decided
        waiting = {row[0] for row in table_rows(ledger, waiting_leads)}
        assert waiting == plain.leads.keys()
        named = {row[3] for row in table_rows(ledger, waiting_lead_identifiers)}
        assert named == {key for key, lead in plain.leads.items() if lead.identifiers}


# ---- Over a restart --------------------------------------------------------------------------


@pytest.mark.parametrize(("after_s", "code"), [(19 * 60 + 59, "suppressed_sale"), (1201, "fired")])
def test_k11_the_twenty_minutes_go_on_over_a_restart(
    tmp_path: Path, after_s: int, code: str
) -> None:
    said = told(identifiers=(VISITORS[0],))
    with ledger_in(tmp_path) as ledger:
        in_batch(
            ledger,
            lambda store: store.put_pixel(lead_pixel(), 1),
            lambda store: stage.on_action(store, a_lead(), said, T0),
        )
    at_ms = T0 + after_s * 1000
    with ledger_in(tmp_path) as ledger:
        in_batch(
            ledger,
            lambda store: stage.on_time(store, at_ms, everybody),
            lambda store: stage.on_sale(
                store, brand=1, program=1, order_id=None, identifiers=[VISITORS[0]],
                is_test=False, at_ms=at_ms,
            ),
            lambda store: stage.on_time(store, T0 + 60 * MINUTE_MS, everybody),
        )  # fmt: skip
        assert [row[-1] for row in table_rows(ledger, pixel_decisions)] == [code]
        assert len(table_rows(ledger, outbox)) == int(code == "fired")
        assert table_rows(ledger, waiting_lead_identifiers) == []


def test_each_lane_has_its_own_time_and_its_own_pixels(ledger: Ledger) -> None:
    for lane in (0, 1):
        in_batch(
            ledger,
            lambda store: store.put_pixel(lead_pixel(), 1),
            lambda store, lane=lane: stage.on_action(store, a_lead(lane + 1), told(), T0),
            partition=lane,
        )
    in_batch(
        ledger, lambda store: stage.on_time(store, T0 + 20 * MINUTE_MS, everybody), partition=1
    )
    assert [row[5] for row in table_rows(ledger, outbox)] == [a_lead(2).action_id]
    in_batch(ledger, lambda store: store.drop_pixel(1), partition=1)
    in_batch(ledger, lambda store: stage.on_action(store, earned(3), told(), T0))
    in_batch(ledger, lambda store: stage.on_action(store, a_lead(4), told(), T0), partition=1)
    assert len(table_rows(ledger, waiting_leads)) == 1


def test_k12_a_lead_saved_twice_is_fired_once(ledger: Ledger) -> None:
    for at_ms in (T0, T0 + 1, T0 + 30 * MINUTE_MS):
        in_batch(
            ledger,
            lambda store: store.put_pixel(lead_pixel(), 1),
            lambda store, at_ms=at_ms: stage.on_time(store, at_ms, everybody),
            lambda store, at_ms=at_ms: stage.on_action(store, a_lead(), told(), at_ms),
        )
    assert len(table_rows(ledger, outbox)) == 1
    assert table_rows(ledger, waiting_leads) == []


def test_a_sale_cancels_a_bounded_number_of_leads(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the bound all of them; beyond it those that are due last stay."""
    monkeypatch.setattr(limits, "LEADS_PER_SALE_MAX", 3)
    said = told(identifiers=(VISITORS[0],))
    many = [(8, number.to_bytes(16, "big")) for number in range(2500)]
    for count, left in ((3, 0), (4, 1)):
        plain = DictStore(lead_pixel())
        steps = [
            lambda store, each=each: stage.on_action(store, a_lead(each), said, T0 + each)
            for each in range(1, count + 1)
        ]
        # A visitor of thousands of identifiers is no trouble.
        steps.append(
            lambda store: stage.on_sale(
                store, brand=1, program=1, order_id=None, identifiers=[*many, VISITORS[0]],
                is_test=False, at_ms=T0 + 100,
            )
        )  # fmt: skip
        in_batch(ledger, lambda store: store.put_pixel(lead_pixel(), 1), *steps)
        for step in steps:
            step(plain)
        waiting = {row[0] for row in table_rows(ledger, waiting_leads)}
        assert waiting == plain.leads.keys()
        assert len(waiting) == left
        with ledger.write() as connection:
            connection.execute(sa.delete(waiting_leads))
            connection.execute(sa.delete(waiting_lead_identifiers))


def test_what_a_sale_or_an_action_asks_for_is_found_by_an_index(ledger: Ledger) -> None:
    """However many pixels and leads there are."""
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        asked.append(statement)

    with ledger.write() as connection:
        store = PixelStore(ledger, connection, 0)
        store.put_pixel(lead_pixel(), 1)
        stage.on_action(store, a_lead(), told(identifiers=(VISITORS[0],)), T0)
        store.flush()
        sa.event.listen(connection, "before_cursor_execute", note)
        store.pixels_of(2)
        store.leads_of_action(bytes(16))
        store.leads_of_visitor(1, 1, "A", VISITORS, 10)
        store.leads_due(T0 + 60 * MINUTE_MS, 10)
        store.decisions_of(bytes(16))
        store.drop_pixel(1)
        sa.event.remove(connection, "before_cursor_execute", note)
        plans = []
        for statement in asked:
            rows = connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {statement}", (0,) * statement.count("?")
            )
            plans += [row[3] for row in rows]
    looks = [plan for plan in plans if plan.startswith(("SCAN", "SEARCH"))]
    assert len(looks) >= 7
    assert not [plan for plan in looks if plan.startswith("SCAN")]
    by_lane = [plan for plan in looks if "(partition=?)" in plan]
    assert [plan for plan in by_lane if "due" not in plan] == []


# ---- Answers ---------------------------------------------------------------------------------


def test_a_conversions_answer_holds_the_browsers_pixels_alone(ledger: Ledger) -> None:
    image = pixel(1, program=1, type="image", template=TAG)
    in_batch(
        ledger,
        lambda store: store.put_pixel(image, 1),
        lambda store: store.put_pixel(pixel(2, partner=2), 1),
        lambda store: stage.on_action(store, earned(1), told(source=Source.TAG), T0),
        lambda store: stage.on_action(
            store, earned(2, partner=2, conversion_id=earned(1).conversion_id), told(), T0
        ),
    )
    conversion = earned(1).conversion_id
    assert conversion is not None
    assert client_pixels(ledger, [conversion, bytes(16)]) == {
        conversion: [{"type": "image", "url": "https://partner.example/i?o=A%2F1%20%26%20more"}]
    }
    found = pixels_of_conversion(ledger, conversion)
    assert [row["code"] for row in found.decisions] == ["fired", "fired"]
    states = [row["state"] for row in found.firings]
    assert sorted(states) == ["client", "waiting"]
    assert firings.backlog(ledger, T0) == (1, 0)
    given = next(row[0] for row in table_rows(ledger, outbox) if row[7] == "image")
    assert not firings.resend(ledger, given, T0)


# ---- Definitions -----------------------------------------------------------------------------


def partner_in(ledger: Ledger) -> tuple[int, int]:
    """A partner that is enrolled in a program; their numbers."""
    _brand, program = with_program(ledger)
    columns = {"name": "Partner", "email": "p@partners.example"}
    partner = objects.create_partner(ledger, Origin(), columns=columns).row["id"]
    enrolling.enrol(
        ledger,
        Origin(),
        program,
        partner,
        None,
        identify=lambda _brand, _email: (),
    )
    return partner, program


def listed(ledger: Ledger, partner: int) -> list[dict[str, Any]]:
    return partner_pixels.pixel_page(ledger, partner, None, after=0, count=100)


def columns(**changed: Any) -> dict[str, Any]:
    value = {
        "program": "*",
        "commission": "cpa",
        "type": "postback",
        "template": "https://partner.example/",
    }
    found = check_pixel({**value, **changed}, Rules())
    assert not found.faults
    return found.columns


def test_k3_a_pixel_is_made_changed_and_deleted_and_the_log_is_told(ledger: Ledger) -> None:
    partner, program = partner_in(ledger)
    made = partner_pixels.create_pixel(
        ledger, Origin(), partner=partner, columns=columns(program=program)
    )
    assert made is not None
    changed = partner_pixels.change_pixel(
        ledger, partner, made.row["id"], lambda _row: {"status": "paused"}
    )
    assert changed is not None
    assert listed(ledger, partner)[0]["status"] == "paused"
    deleted = partner_pixels.delete_pixel(ledger, partner, made.row["id"])
    assert deleted is not None
    assert listed(ledger, partner) == []
    assert partner_pixels.change_pixel(ledger, partner, 99, lambda _row: {}) is None
    with pytest.raises(RequestRefused, match="conflict"):
        partner_pixels.change_pixel(
            ledger, partner, made.row["id"], lambda _row: {"status": "active"}
        )
    told_of = pixel_controls(ledger)
    assert [value and value["status"] for _, _, value in told_of] == ["active", "paused", None]
    assert [revision for revision, _, _ in told_of] == [
        each.revision for each in (made, changed, deleted)
    ]


def pixel_controls(ledger: Ledger) -> list[tuple[int, int, dict[str, Any] | None]]:
    """(revision, lane, value) of what the log is told of pixels."""
    with ledger.read() as connection:
        rows = connection.execute(
            sa.select(config_outbox)
            .where(config_outbox.c.object == "pixel")
            .order_by(config_outbox.c.revision)
        )
        return [
            (row.revision, row.partition, decode(row.control).body[3])  # type: ignore[misc]
            for row in rows
        ]


def test_k2_a_partner_that_is_not_in_the_program_has_no_pixel_for_it(ledger: Ledger) -> None:
    partner, program = partner_in(ledger)
    other = objects.create_partner(ledger, Origin(), columns={"name": "O", "email": ""}).row["id"]
    for owner, number in ((other, program), (partner, 99)):
        with pytest.raises(RequestRefused) as caught:
            partner_pixels.create_pixel(
                ledger, Origin(), partner=owner, columns=columns(program=number)
            )
        assert caught.value.code == "partner_not_in_program"
    assert partner_pixels.create_pixel(ledger, Origin(), partner=99, columns=columns()) is None


def test_k5_a_pixel_of_all_programs_is_told_to_every_lane(ledger: Ledger) -> None:
    partner, _ = partner_in(ledger)
    made = partner_pixels.create_pixel(ledger, Origin(), partner=partner, columns=columns())
    assert made is not None
    told_of = pixel_controls(ledger)
    assert [lane for _, lane, _ in told_of] == [0, 1]
    assert told_of[-1][0] == made.revision


def test_k9_a_slot_has_one_pixel(ledger: Ledger) -> None:
    partner, program = partner_in(ledger)

    def make(**changed: Any) -> Any:
        return partner_pixels.create_pixel(
            ledger, Origin(), partner=partner, columns=columns(**changed)
        )

    first = make()
    for other in ({"program": program}, {"product_id": "A"}, {"commission": "cpl"}):
        assert make(**other).created
    for same in ({}, {"program": program}, {"product_id": "A"}, {"type": "image", "template": TAG}):
        with pytest.raises(RequestRefused, match="conflict"):
            make(**same)
    with pytest.raises(RequestRefused, match="conflict"):
        partner_pixels.change_pixel(
            ledger, partner, first.row["id"], lambda _row: columns(product_id="A")
        )
    partner_pixels.delete_pixel(ledger, partner, first.row["id"])
    assert make().created


def test_a_partner_has_a_bound_of_pixels(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    partner, _ = partner_in(ledger)
    monkeypatch.setattr(limits, "PIXELS_PER_PARTNER_MAX", 2)
    for product in ("A", "B"):
        partner_pixels.create_pixel(
            ledger, Origin(), partner=partner, columns=columns(product_id=product)
        )
    with pytest.raises(RequestRefused, match="too_many_values"):
        partner_pixels.create_pixel(ledger, Origin(), partner=partner, columns=columns())


def test_the_secret_of_a_pixel_is_changed_with_two_valid_meanwhile(ledger: Ledger) -> None:
    partner, _ = partner_in(ledger)
    made = partner_pixels.create_pixel(ledger, Origin(), partner=partner, columns=columns())
    assert made is not None
    for salt in ("00", "11", "22"):
        partner_pixels.add_salt(ledger, partner, made.row["id"], salt)
    found = listed(ledger, partner)
    assert found[0]["signing_salts"] == ["11", "22"]
    partner_pixels.keep_newest_salt(ledger, partner, made.row["id"])
    assert listed(ledger, partner)[0]["signing_salts"] == ["22"]
    assert "22" not in str([value for _, _, value in pixel_controls(ledger)])


def test_the_engine_passes_the_control_records_of_pixels_on(ledger: Ledger) -> None:
    """Of all programs' pixels too, whose records are of no brand, in each lane."""
    partner, program = partner_in(ledger)
    for number in ("*", program):
        partner_pixels.create_pixel(
            ledger, Origin(), partner=partner, columns=columns(program=number)
        )
    with ledger.read() as connection:
        rows = list(connection.execute(sa.select(config_outbox).order_by(config_outbox.c.revision)))
    for lane, numbers in ((0, [1, 2]), (1, [1])):
        records = [row.control for row in rows if row.partition == lane]
        engine = _core.Engine(lane)
        frame = _core.encode_frame(lane, 7, 1, records)
        outcomes = msgpack.unpackb(engine.apply([(T0, 0, frame)]), strict_map_key=False)
        found = [row for row in outcomes["controls"] if row[1] == "pixel"]
        assert [pixel_of(row[2]) for row in found] == numbers
