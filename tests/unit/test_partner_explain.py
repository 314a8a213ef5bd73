"""What a partner is told of a conversion: its own touches and their fate, and nothing else."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from console_tools import RunningConsole, console_in, fresh, program_body
from fraud_tools import finding, fraud_bytes
from headwater import ids, limits
from headwater.console.partner_views import NO_CONVERSION, NO_TOUCH
from headwater.ledger import matching
from headwater.model.signals import signals
from ledger_tools import (
    NOW_MS,
    acquired,
    batch,
    candidate,
    click_outcome,
    conversion_outcome,
    explanation,
    hop,
)

AT = "2026-09-21T14:13:20.000Z"
NOTHING = {"why": NO_TOUCH, "click": None, "conversions": [], "touches": [], "truncated": False}
_steps = itertools.count(1)


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    with console_in(tmp_path_factory.mktemp("console"), read_wait_ms=60_000) as running:
        yield running


class Scene:
    """A program with two partners, and what the matcher commits of it."""

    def __init__(self, console: RunningConsole) -> None:
        self.console = console
        self.code = fresh()
        self.brand, self.program = console.brand_and_program(self.code)
        event_type = console.made(
            f"/v1/programs/{self.program}/event-types", {"code": "sale", "kind": "sale"}
        )
        self.numbers = {"brand": int(self.brand[4:]), "program": int(self.program[4:])}
        self.event_type = int(event_type["id"][4:])
        self.mine, self.theirs = (self.partner() for _ in range(2))

    def partner(self) -> int:
        partner = self.console.made("/v1/partners", {"name": "p"})["id"]
        self.console.made(f"/v1/programs/{self.program}/partners/{partner}", {}, "PUT")
        return int(partner[4:])

    def key(self, partner: int, **members: Any) -> str:
        body = {"scopes": ["read"], "partner_id": f"prt_{partner}", **members}
        return str(self.console.made("/v1/keys", body)["key"])

    def click(self, partner: int, at_ms: int = NOW_MS, **options: Any) -> bytes:
        row = click_outcome(at_ms, partner=partner, **{**self.numbers, **options})
        self.commit(clicks=[row])
        return bytes(row[0])

    def conversion(
        self,
        explain: bytes,
        *credits_given: tuple[int, bytes | None, int],
        **options: Any,
    ) -> str:
        conversion_id = ids.event_id(NOW_MS)
        row = conversion_outcome(
            conversion_id,
            explain=explain,
            credits_given=credits_given,
            event_type=self.event_type,
            **{**self.numbers, **options},
        )
        self.commit(conversions=[row])
        return ids.event_text("cnv", conversion_id)

    def commit(self, **outcomes: list[Any]) -> None:
        made = batch(acquired(self.console.ledger), to=(next(_steps), 0), **outcomes)
        matching.commit(self.console.ledger, [made], lease_until_ms=0)

    def asked(self, ref: str, *, partner: int | None = None, query: str = "") -> Any:
        partner = self.mine if partner is None else partner
        path = f"/v1/partners/prt_{partner}/conversions/{quote(ref, safe='')}/explain{query}"
        reply = self.console.call("GET", path)
        assert reply.status == 200, reply
        return reply.json


@pytest.fixture(scope="module")
def scene(console: RunningConsole) -> Scene:
    return Scene(console)


# ---- Who may ask


def test_a_partners_key_opens_its_own_partner_alone(console: RunningConsole, scene: Scene) -> None:
    path = "/v1/partners/prt_{}/conversions/nothing/explain"
    own, other = scene.key(scene.mine), scene.key(scene.theirs)
    assert console.call("GET", path.format(scene.mine), key=own).json == NOTHING
    assert console.call("GET", path.format(scene.mine), key=other).status == 403
    # Whether there is another partner of this number is not told.
    assert console.call("GET", path.format(99_999), key=own).status == 403
    assert console.call("GET", path.format(99_999)).status == 404
    assert console.call("GET", path.format(scene.mine), key=None).status == 401


def test_a_partners_key_opens_nothing_else(console: RunningConsole, scene: Scene) -> None:
    key = scene.key(scene.mine)
    whole = "/v1/conversions/x/explain"
    for path in ("/v1/brands", whole, f"/v1/partners/prt_{scene.mine}", "/nothing"):
        assert console.call("GET", path, key=key).status == 403


@pytest.mark.parametrize(
    "members", [{"scopes": ["events"]}, {"scopes": ["read"], "partner_id": None}]
)
def test_keys_of_another_scope_or_of_nobody_are_refused(
    console: RunningConsole, scene: Scene, members: dict[str, Any]
) -> None:
    key = scene.key(scene.mine, **members)
    path = f"/v1/partners/prt_{scene.mine}/conversions/x/explain"
    assert console.call("GET", path, key=key).status == 403


def test_a_key_of_one_brand_tells_nothing_of_another(console: RunningConsole, scene: Scene) -> None:
    click = scene.click(scene.mine)
    told = explanation(candidate(scene.mine, click, "credited"))
    conversion = scene.conversion(told, (scene.mine, click, 1_000_000), order_id="B-1")
    other = console.made("/v1/brands", {"name": "other"})["id"]
    for brand, count in ((scene.brand, 1), (other, 0)):
        key = scene.key(scene.mine, brand_id=brand)
        for ref in (conversion, "B-1", ids.event_text("clk", click)):
            path = f"/v1/partners/prt_{scene.mine}/conversions/{ref}/explain"
            assert len(console.call("GET", path, key=key).json["touches"]) == count


# ---- What is told


def test_own_touches_are_told_and_nothing_of_others(scene: Scene) -> None:
    mine, theirs = scene.click(scene.mine), scene.click(scene.theirs, NOW_MS + 77_000)
    visitor = [8, bytes([0xAB]) * 16]
    path = [
        hop([0, bytes(16)], visitor, ids.event_id(NOW_MS)),
        hop(visitor, [6, mine], mine),
    ]
    told = explanation(
        candidate(scene.theirs, theirs, "credited", touch_ms=NOW_MS + 77_000, share_ppm=600_000),
        candidate(scene.mine, mine, "credited", path=path, share_ppm=400_000),
        candidate(scene.mine, None, "outranked_by_class", **{"class": "exclusive_coupon"}),
        members=[visitor],
        hubs=[visitor],
        candidates_omitted=31,
    )
    shares = ((scene.theirs, theirs, 600_000), (scene.mine, mine, 400_000))
    conversion = scene.conversion(told, *shares, amount_minor=987_654)
    answer = scene.asked(conversion)
    click = ids.event_text("clk", mine)
    assert answer == {
        "why": "a touch of yours earned credit",
        "click": None,
        "conversions": [
            {
                "conversion_id": conversion,
                "program_id": scene.program,
                "program": scene.code,
                "event": "sale",
                "line": "main",
                "occurred_at": AT,
                "status": "attributed",
                "reason": None,
            }
        ],
        "touches": [
            {
                "conversion_id": conversion,
                "click_id": click,
                "touch_at": AT,
                "class": "click",
                "params": {"sub1": "x/y"},
                "path": [],
                "outcome": "credited",
                "why": "it earned a part of the credit",
                "share_ppm": 400_000,
            },
            {
                "conversion_id": conversion,
                "click_id": None,
                "touch_at": AT,
                "class": "exclusive_coupon",
                "params": {},
                "path": [],
                "outcome": "outranked_by_class",
                "why": "a touch of a class that ranks higher in the program counts",
                "share_ppm": 0,
            },
        ],
        "truncated": False,
    }
    # Random ids hold any two digits now and then.
    text = re.sub(r"(clk|cnv)_[0-9a-z]{26}", lambda found: found[1], json.dumps(answer))
    assert ids.event_text("clk", theirs) not in json.dumps(answer)
    secrets = (f"prt_{scene.theirs}", "abab", "14:14:37", "9876")
    assert not [each for each in (*secrets, "600000", "visitor", "31") if each in text]


def test_a_click_that_the_order_named_shows_that_step(scene: Scene) -> None:
    mine, theirs = scene.click(scene.mine), scene.click(scene.theirs)
    conversion_id = ids.event_id(NOW_MS)
    start = [0, conversion_id]
    others = [hop(start, [6, theirs], theirs), hop(start, [1, mine], mine)]
    told = explanation(
        candidate(scene.mine, mine, "credited", path=[hop(start, [6, mine], mine)]),
        candidate(scene.mine, None, "older", path=others),
    )
    answer = scene.asked(scene.conversion(told, (scene.mine, mine, 1_000_000)))
    first, second = answer["touches"]
    assert [step["to"]["key"] for step in first["path"]] == [ids.event_text("clk", mine)]
    assert first["why"] == "it earned the credit"
    assert second["path"] == []


OUTCOMES = [
    "older",
    "newer",
    "superseded",
    "outranked_by_class",
    "outranked_by_named_click",
    "outside_window",
    "after_conversion",
    "late",
    "partner_inactive",
    "other_program",
    "browser_evidence",
    "filtered",
    "fraud_rejected",
    "prefetch",
    "an outcome of a newer engine",
]


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_is_said_in_words(scene: Scene, outcome: str) -> None:
    mine = scene.click(scene.mine)
    told = explanation(candidate(scene.mine, mine, outcome))
    answer = scene.asked(scene.conversion(told, reason="no_touch"))
    (touch,) = answer["touches"]
    assert (touch["outcome"], answer["why"]) == (outcome, touch["why"])
    assert touch["why"] not in ("", outcome)
    assert answer["conversions"][0]["reason"] == "no_touch"


@pytest.mark.parametrize("outcome", ["filtered", "fraud_rejected", "prefetch"])
def test_a_partner_is_told_that_a_click_failed_and_not_by_which_signal(
    scene: Scene, outcome: str
) -> None:
    """Who knows the signal tries what gets past it."""
    mine = scene.click(scene.mine)
    told = explanation(candidate(scene.mine, mine, outcome))
    raw = fraud_bytes(finding("REF_FORCED_CLICK", points=80))
    answer = json.dumps(scene.asked(scene.conversion(told, reason="fraud_rejected", fraud=raw)))
    assert not [code for code in signals() if code in answer]
    assert not [signal for signal in signals().values() if signal.meaning in answer]
    assert "score" not in answer


def test_a_credit_that_the_explanation_left_out_is_told(scene: Scene) -> None:
    mine = scene.click(scene.mine)
    answer = scene.asked(
        scene.conversion(explanation(), (scene.mine, mine, 250_000), (scene.mine, None, 1))
    )
    assert [(touch["click_id"], touch["share_ppm"]) for touch in answer["touches"]] == [
        (ids.event_text("clk", mine), 250_000),
        (None, 1),
    ]


def test_no_touch_and_no_conversion_are_answered_alike_and_at_once(scene: Scene) -> None:
    """The reader would wait a minute for what the matcher has not come to."""
    theirs = scene.click(scene.theirs)
    told = explanation(candidate(scene.theirs, theirs, "credited"))
    conversion = scene.conversion(told, (scene.theirs, theirs, 1_000_000), order_id="C-1")
    unknown = ids.event_text("cnv", ids.event_id(NOW_MS))
    no_click = ids.event_text("clk", ids.event_id(NOW_MS))
    of_others = ids.event_text("clk", theirs)
    for ref in (conversion, "C-1", of_others, unknown, "C-2", no_click, "cnv_x", "x" * 300):
        assert scene.asked(ref) == NOTHING, ref


# ---- By order


def test_the_lines_of_an_order_are_all_told(console: RunningConsole, scene: Scene) -> None:
    mine = scene.click(scene.mine)
    told = explanation(candidate(scene.mine, mine, "credited"))
    other = Scene(console)
    console.made(f"/v1/programs/{other.program}/partners/prt_{scene.mine}", {}, "PUT")
    order = "Ä/1 #?"
    for line in ("a", "b"):
        scene.conversion(told, (scene.mine, mine, 1_000_000), order_id=order, line=line)
    elsewhere = other.conversion(told, (scene.mine, mine, 1_000_000), order_id=order)
    answer = scene.asked(order)
    assert sorted(each["line"] for each in answer["conversions"]) == ["a", "b", "main"]
    assert len(answer["touches"]) == 3
    narrowed = scene.asked(order, query=f"?program={other.code}&event=sale")
    assert [each["conversion_id"] for each in narrowed["conversions"]] == [elsewhere]
    assert scene.asked(order, query=f"?program={other.code}&event=lead") == NOTHING
    assert scene.asked(order, query="?program=nothing") == NOTHING


def test_programs_a_partner_is_not_in_are_not_looked_at(
    console: RunningConsole, scene: Scene
) -> None:
    other = Scene(console)
    click = other.click(other.mine)
    told = explanation(candidate(scene.mine, click, "other_program"))
    other.conversion(told, order_id="D-1")
    assert scene.asked("D-1") == NOTHING


def test_more_lines_than_are_told_are_said_to_be_there(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = scene.click(scene.mine)
    told = explanation(candidate(scene.mine, mine, "credited"))
    for number in range(limits.PARTNER_CONVERSIONS_MAX):
        scene.conversion(told, order_id="E-1", line=str(number))
    answer = scene.asked("E-1")
    assert len(answer["conversions"]) == limits.PARTNER_CONVERSIONS_MAX
    assert not answer["truncated"]
    scene.conversion(told, order_id="E-1", line="one more")
    answer = scene.asked("E-1")
    assert len(answer["conversions"]) == limits.PARTNER_CONVERSIONS_MAX
    assert answer["truncated"]


def test_a_line_with_own_credit_is_found_among_many(console: RunningConsole, scene: Scene) -> None:
    """Goal: neither many lines of others, nor another brand's order of that number, hide it."""
    other = Scene(console)
    console.made(f"/v1/programs/{other.program}/partners/prt_{scene.mine}", {}, "PUT")
    for number in range(limits.PARTNER_CONVERSIONS_MAX + 1):
        scene.conversion(explanation(), order_id="F-1", line=str(number))
        other.conversion(explanation(), order_id="F-1", line=str(number))
    mine = scene.click(scene.mine)
    told = explanation(candidate(scene.mine, mine, "credited"))
    wanted = scene.conversion(told, (scene.mine, mine, 1_000_000), order_id="F-1", line="last")
    assert [each["conversion_id"] for each in scene.asked("F-1")["conversions"]] == [wanted]
    # A touch without credit is found too when the key's brand leaves one order of that number.
    lost = explanation(candidate(scene.mine, mine, "older"))
    scene.conversion(lost, order_id="F-2", line="mine", accept_ms=NOW_MS + 1)
    for number in range(limits.PARTNER_CONVERSIONS_MAX + 1):
        other.conversion(explanation(), order_id="F-2", line=str(number))
    path = f"/v1/partners/prt_{scene.mine}/conversions/F-2/explain"
    key = scene.key(scene.mine, brand_id=scene.brand)
    reply = console.call("GET", path, key=key)
    assert [touch["outcome"] for touch in reply.json["touches"]] == ["older"]


# ---- By click


def test_a_click_tells_every_conversion_it_met(console: RunningConsole, scene: Scene) -> None:
    mine, second = scene.click(scene.mine), scene.click(scene.mine)
    sibling = console.made("/v1/programs", program_body(scene.brand, fresh()))["id"]
    credited = explanation(candidate(scene.mine, mine, "credited"))
    first = scene.conversion(credited, (scene.mine, mine, 1_000_000))
    both = explanation(
        candidate(scene.mine, second, "credited"), candidate(scene.mine, mine, "superseded")
    )
    later = scene.conversion(both, (scene.mine, second, 1_000_000), accept_ms=NOW_MS + 1)
    other = scene.conversion(
        explanation(candidate(scene.mine, mine, "other_program")),
        program=int(sibling[4:]),
        accept_ms=NOW_MS + 2,
    )
    before = NOW_MS - limits.FUTURE_MS_MAX - 1
    scene.conversion(explanation(candidate(scene.mine, mine, "older")), accept_ms=before)
    path = [hop([8, bytes(16)], [6, mine], mine)]
    on_the_way = explanation(candidate(scene.theirs, second, "credited", path=path))
    scene.conversion(on_the_way, accept_ms=NOW_MS + 3)
    answer = scene.asked(ids.event_text("clk", mine))
    assert answer["click"] == {
        "click_id": ids.event_text("clk", mine),
        "program_id": scene.program,
        "touch_at": AT,
        "touch_type": "click",
        "params": {"sub1": "x/y"},
    }
    assert [(each["conversion_id"], each["outcome"]) for each in answer["touches"]] == [
        (first, "credited"),
        (later, "superseded"),
        (other, "other_program"),
    ]
    assert not answer["truncated"]


def test_a_click_that_met_nothing_says_so(scene: Scene) -> None:
    mine = scene.click(scene.mine, NOW_MS + 10_000_000)
    answer = scene.asked(ids.event_text("clk", mine))
    assert (answer["why"], answer["touches"], answer["conversions"]) == (NO_CONVERSION, [], [])
    assert answer["click"]["click_id"] == ids.event_text("clk", mine)


@pytest.mark.parametrize("page", [2, 3, 500])
def test_the_search_ends_at_its_bound_and_says_so(
    console: RunningConsole, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    """What the click was credited for is found however far it is."""
    scene = Scene(console)
    mine = scene.click(scene.mine)
    far = NOW_MS + 1_000
    for number in range(5):
        scene.conversion(explanation(), accept_ms=NOW_MS + number)
    scene.conversion(explanation(candidate(scene.mine, mine, "older")), accept_ms=far)
    credited = explanation(candidate(scene.mine, mine, "credited"))
    last = scene.conversion(credited, (scene.mine, mine, 1_000_000), accept_ms=far + 1)
    monkeypatch.setattr("headwater.limits.PAGE_ROWS_MAX", page)
    ref = ids.event_text("clk", mine)
    monkeypatch.setattr("headwater.limits.CLICK_SCAN_ROWS_MAX", 7)
    answer = scene.asked(ref)
    assert (len(answer["touches"]), answer["truncated"]) == (2, False)
    monkeypatch.setattr("headwater.limits.CLICK_SCAN_ROWS_MAX", 6)
    answer = scene.asked(ref)
    assert (len(answer["touches"]), answer["truncated"]) == (2, True)
    monkeypatch.setattr("headwater.limits.CLICK_SCAN_ROWS_MAX", 5)
    answer = scene.asked(ref)
    assert [each["conversion_id"] for each in answer["touches"]] == [last]
    assert answer["truncated"]
