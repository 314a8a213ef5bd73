"""Explanations as the management API tells them: every member, nothing that was erased."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from console_tools import RunningConsole, console_in
from headwater import ids
from headwater.ledger import matching
from headwater.ledger.matching import PartitionBatch
from ledger_tools import (
    NOW_MS,
    acquired,
    batch,
    candidate,
    click_outcome,
    conversion_outcome,
    erasure_outcome,
    explanation,
    hop,
    late_evidence_outcome,
)

AT = "2026-09-21T14:13:20.000Z"
_steps = itertools.count(1)


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    with console_in(tmp_path_factory.mktemp("console"), with_redis=False) as running:
        yield running


def commit(console: RunningConsole, **outcomes: list[Any]) -> None:
    made: PartitionBatch = batch(acquired(console.ledger), to=(next(_steps), 0), **outcomes)
    matching.commit(console.ledger, [made], lease_until_ms=0)


def drawn() -> bytes:
    """A digest no other has, in its first bytes too."""
    return hashlib.blake2b(str(next(_steps)).encode(), digest_size=16).digest()


@dataclass
class Person:
    """Identifiers and a click that no other test uses."""

    conversion_id: bytes = field(default_factory=lambda: ids.event_id(NOW_MS))
    click_id: bytes = field(default_factory=lambda: ids.event_id(NOW_MS))
    visitor: list[Any] = field(default_factory=lambda: [8, drawn()])
    customer: list[Any] = field(default_factory=lambda: [1, drawn()])
    other: list[Any] = field(default_factory=lambda: [1, drawn()])
    event_id: bytes = field(default_factory=lambda: ids.event_id(NOW_MS))

    @property
    def text(self) -> str:
        return ids.event_text("cnv", self.conversion_id)

    def explanation(self) -> bytes:
        path = [
            hop([0, self.conversion_id], self.customer, self.event_id),
            hop(self.customer, self.visitor, self.event_id),
            hop(self.visitor, [6, self.click_id], self.click_id),
        ]
        return explanation(
            candidate(3, None, "credited", **{"class": "exclusive_coupon"}),
            candidate(4, self.click_id, "outranked_by_class", path=path),
            members=[self.customer, self.visitor],
            hubs=[self.visitor],
            cut=[hop(self.customer, self.other, bytes(16))],
            truncated=True,
            links="browser",
            model="linear",
        )


def told_of(console: RunningConsole, person: Person) -> Any:
    reply = console.call("GET", f"/v1/conversions/{person.text}/explain")
    assert reply.status == 200
    return reply.json


def key(identifier: list[Any]) -> str:
    return str(identifier[1][:4].hex())


def test_an_explanation_has_every_member(console: RunningConsole) -> None:
    person = Person()
    row = conversion_outcome(
        person.conversion_id,
        credits_given=((3, None, 1_000_000),),
        explain=person.explanation(),
    )
    commit(console, conversions=[row])
    click = ids.event_text("clk", person.click_id)
    event = ids.event_text("evt", person.event_id)
    customer = {"type": "customer_id", "key": key(person.customer)}
    visitor = {"type": "visitor_id", "key": key(person.visitor)}
    assert told_of(console, person) == {
        "members": [customer, visitor],
        "candidates": [
            {
                "click_id": None,
                "partner_id": "prt_3",
                "touch_at": AT,
                "class": "exclusive_coupon",
                "path": [],
                "outcome": "credited",
                "share_ppm": 1_000_000,
            },
            {
                "click_id": click,
                "partner_id": "prt_4",
                "touch_at": AT,
                "class": "click",
                "path": [
                    {
                        "from": {"type": "conversion", "key": person.text},
                        "to": customer,
                        "at": AT,
                        "event_id": event,
                    },
                    {"from": customer, "to": visitor, "at": AT, "event_id": event},
                    {
                        "from": visitor,
                        "to": {"type": "click_id", "key": click},
                        "at": AT,
                        "event_id": click,
                    },
                ],
                "outcome": "outranked_by_class",
                "share_ppm": 0,
            },
        ],
        "candidates_omitted": 0,
        "hubs": [visitor],
        "hubs_omitted": 0,
        "cut": [
            {
                "from": customer,
                "to": {"type": "customer_id", "key": key(person.other)},
                "at": AT,
                "event_id": None,
            }
        ],
        "cut_omitted": 0,
        "truncated": True,
        "evidence": "server",
        "links": "browser",
        "model": "linear",
        "nearest_miss": None,
        "fraud": None,
        "config_hash": "00" * 16,
    }


def test_a_credit_without_a_click_is_told_as_such(console: RunningConsole) -> None:
    person = Person()
    row = conversion_outcome(
        person.conversion_id,
        credits_given=((3, None, 1_000_000),),
        explain=person.explanation(),
    )
    commit(console, conversions=[row])
    read = console.call("GET", f"/v1/conversions/{person.text}").json
    assert read["credits"] == [{"partner_id": "prt_3", "click_id": None, "share_ppm": 1_000_000}]
    listed = console.call("GET", "/v1/conversions").json["items"]
    assert any(item["credits"] == read["credits"] for item in listed)


@pytest.mark.parametrize("with_click", [True, False])
def test_the_nearest_miss_is_told(console: RunningConsole, with_click: bool) -> None:
    person = Person()
    miss = {
        "click_id": person.click_id if with_click else None,
        "partner": 7,
        "touch_ms": NOW_MS,
        "outcome": "outside_window",
        "missed_by_ms": 1234,
    }
    explain = explanation(nearest_miss=miss)
    row = conversion_outcome(person.conversion_id, reason="outside_window", explain=explain)
    commit(console, conversions=[row])
    assert told_of(console, person)["nearest_miss"] == {
        "click_id": ids.event_text("clk", person.click_id) if with_click else None,
        "partner_id": "prt_7",
        "touch_at": AT,
        "outcome": "outside_window",
        "missed_by_ms": 1234,
    }


def test_an_explanation_without_members_is_empty(console: RunningConsole) -> None:
    person = Person()
    commit(console, conversions=[conversion_outcome(person.conversion_id)])
    told = told_of(console, person)
    assert (told["members"], told["candidates"], told["evidence"]) == ([], [], None)


def test_what_is_erased_is_no_longer_shown(console: RunningConsole) -> None:
    """Whether the erasure's commit comes before the conversion's or after it."""
    before, after, anew = Person(), Person(), Person()
    after.visitor = anew.visitor = before.visitor
    row = conversion_outcome(before.conversion_id, explain=before.explanation())
    commit(console, conversions=[row])
    gone = ((8, before.visitor[1]), (6, before.click_id))
    commit(console, erasures=[erasure_outcome(before.event_id, identifiers=gone)])
    late = conversion_outcome(after.conversion_id, explain=after.explanation())
    new = conversion_outcome(
        anew.conversion_id, explain=anew.explanation(), accept_ms=NOW_MS + 10_000
    )
    commit(console, conversions=[late, new])
    told = told_of(console, before)
    hidden = {"type": "visitor_id", "key": "erased"}
    assert told["members"] == [{"type": "customer_id", "key": key(before.customer)}, hidden]
    assert told["hubs"] == [hidden]
    path = told["candidates"][1]["path"]
    assert (path[1]["to"], path[2]["from"]) == (hidden, hidden)
    assert (path[2]["to"], path[2]["event_id"]) == ({"type": "click_id", "key": "erased"}, None)
    assert key(before.visitor) not in str(told)
    assert key(before.visitor) not in str(told_of(console, after))
    # Seen again since, it is known again.
    assert key(before.visitor) in str(told_of(console, anew))


def test_late_evidence_is_told_with_the_conversion(console: RunningConsole) -> None:
    person = Person()
    identify = ids.event_id(NOW_MS + 1)
    evidence = [
        late_evidence_outcome(identify, person.conversion_id, kind=3, partners=()),
        late_evidence_outcome(person.click_id, person.conversion_id, partners=(4, 2, 4)),
    ]
    row = conversion_outcome(person.conversion_id, reason="no_touch")
    commit(console, conversions=[row], late_evidence=[*evidence, evidence[0]])
    read = console.call("GET", f"/v1/conversions/{person.text}").json
    assert read["late_evidence"] == [
        {
            "event_id": ids.event_text("clk", person.click_id),
            "kind": "click",
            "at": AT,
            "partners": ["prt_4", "prt_2"],
        },
        {
            "event_id": ids.event_text("evt", identify),
            "kind": "identify",
            "at": AT,
            "partners": [],
        },
    ]


@pytest.mark.parametrize(
    ("flags", "name"), [(0, "click"), (32, "soft_click"), (64, "impression"), (65, "impression")]
)
def test_a_click_says_what_kind_of_touch_it_is(
    console: RunningConsole, flags: int, name: str
) -> None:
    row = click_outcome(flags=flags)
    commit(console, clicks=[row])
    read = console.call("GET", f"/v1/clicks/{ids.event_text('clk', row[0])}").json
    assert read["touch_type"] == name
