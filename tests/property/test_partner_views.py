"""Whatever an explanation holds, a partner is told of its own touches alone."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import msgspec
from hypothesis import given
from hypothesis import strategies as st

from headwater import ids
from headwater.console import partner_views
from headwater.model.attribution import CLASSES
from ledger_tools import NOW_MS, candidate, explanation, hop

MINE, THEIRS = 7, 8
CONVERSION = bytes([0xC0]) * 16
# The last byte says whose it is, so that it can be looked for in the answer.
MY_IDS = st.binary(min_size=15, max_size=15).map(lambda raw: raw + b"\x01")
FOREIGN_IDS = st.binary(min_size=15, max_size=15).map(lambda raw: raw + b"\x02")
OUTCOMES = st.sampled_from(["credited", "older", "late", "outranked_by_class", "unheard of"])


def hops(click_ids: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[dict[str, Any]]]:
    ends = st.one_of(
        st.tuples(st.integers(1, 8), FOREIGN_IDS),
        st.tuples(st.just(6), click_ids),
        st.just((0, CONVERSION)),
    )
    step = st.builds(
        lambda start, end, event: hop(list(start), list(end), event), ends, ends, FOREIGN_IDS
    )
    return st.lists(step, max_size=4)


@st.composite
def touches(draw: st.DrawFn, partner: int) -> dict[str, Any]:
    own = MY_IDS if partner == MINE else FOREIGN_IDS
    return candidate(
        partner,
        draw(st.one_of(st.none(), own)),
        draw(OUTCOMES),
        touch_ms=NOW_MS + (partner == THEIRS) * 86_400_000,
        path=draw(hops(own)),
        **{"class": draw(st.sampled_from(CLASSES))},
    )


def row_of(candidates: list[dict[str, Any]], members: list[tuple[int, bytes]]) -> dict[str, Any]:
    credits_given = [
        (each["partner"], each["click_id"], 500_000)
        for each in candidates
        if each["outcome"] == "credited"
    ]
    return {
        "conversion_id": CONVERSION,
        "brand": 1,
        "program": 3,
        "program_code": "check",
        "event_code": "sale",
        "line": "main",
        "occurred_ms": NOW_MS,
        "status": "attributed",
        "reason": None,
        "credits": credits_given,
        "explain": explanation(
            *candidates,
            members=members,
            hubs=members,
            cut=[hop(list(each), list(each), each[1]) for each in members],
            nearest_miss={
                "click_id": bytes(15) + b"\x02",
                "partner": THEIRS,
                "touch_ms": NOW_MS,
                "outcome": "late",
                "missed_by_ms": 1,
            },
        ),
    }


@given(
    st.lists(st.one_of(touches(MINE), touches(THEIRS)), max_size=6),
    st.lists(st.tuples(st.integers(1, 8), FOREIGN_IDS), max_size=4),
)
def test_no_other_partner_and_no_identifier_is_ever_told(
    candidates: list[dict[str, Any]], members: list[tuple[int, bytes]]
) -> None:
    row = row_of(candidates, members)
    told = msgpack.unpackb(row["explain"])
    answer = partner_views.explanation(MINE, [row], {})
    text = json.dumps(msgspec.to_builtins(answer))
    own = [each for each in told["candidates"] if each["partner"] == MINE]
    assert len(answer.touches) == len(own)
    if not own:
        assert answer == partner_views.nothing()
    assert f"prt_{THEIRS}" not in text
    foreign = [each["click_id"] for each in told["candidates"] if each["partner"] == THEIRS]
    foreign += [digest for _, digest in members]
    for raw in filter(None, foreign):
        assert ids.encode(raw) not in text
        assert raw[:4].hex() not in {end["key"] for end in _ends(answer)}
    assert "2026-09-22" not in text, "the day of the other's touches"


def _ends(answer: partner_views.PartnerExplanation) -> list[dict[str, str]]:
    """Both ends of every step that is shown."""
    steps = [step for touch in answer.touches for step in touch.path]
    return [msgspec.to_builtins(end) for step in steps for end in (step.from_, step.to)]
