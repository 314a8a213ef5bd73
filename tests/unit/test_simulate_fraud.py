"""Fraud rules as `simulate` takes them, and clicks set side by side under either."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgpack
import pytest

from headwater import limits
from headwater.errors import ConfigError, HeadwaterError
from headwater.ops.simulate_clicks import STATES, Clicks, PartnerClicks, compare_clicks, total
from headwater.ops.simulate_rows import rows_of
from headwater.ops.simulate_rules import Span, merged, parse_rules, ramp_faults

SPAN = Span(1000, 2000)


# ---- Rules ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "fraud"),
    [
        (["fraud.review_from=30"], {"review_from": 30}),
        (["fraud.unique_window_seconds=60"], {"unique_window_seconds": 60}),
        (
            ["fraud.rules.IP_VELOCITY.mode=enforce", "fraud.rules.IP_VELOCITY.weight=0"],
            {"rules": {"IP_VELOCITY": {"mode": "enforce", "weight": 0}}},
        ),
        (
            ["fraud.rules.CADENCE.low=3", "fraud.rules.CADENCE.high = 6", "fraud.review_from=1"],
            {"rules": {"CADENCE": {"low": 3, "high": 6}}, "review_from": 1},
        ),
    ],
)
def test_settings_become_fraud_rules(settings: Sequence[str], fraud: dict[str, Any]) -> None:
    assert parse_rules(settings).program == {"fraud": fraud}


@pytest.mark.parametrize(
    "setting",
    [
        *("fraud=1", "fraud.=1", "fraud.review_from=0", "fraud.review_from=101"),
        *("fraud.unique_window_seconds=59", "fraud.unique_window_seconds=2592001"),
        *("fraud.rules=1", "fraud.rules.IP_VELOCITY=off", "fraud.rules.IP_VELOCITY.mode=on"),
        *("fraud.rules.NO_SUCH.mode=off", "fraud.rules.IP_VELOCITY.weight=101"),
        *("fraud.rules.IP_VELOCITY.low=-1", "fraud.rules.IP_VELOCITY.high=4294967296"),
        *("fraud.rules.IP_VELOCITY.family=x", "fraud.rules.IP_VELOCITY.mode.more=off"),
        *("fraud.review_from:sale=3", "fraud.allow=x"),
    ],
)
def test_another_fraud_rule_is_refused(setting: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_rules([setting], ["sale"])
    assert len(refused.value.faults) == 1


def test_a_fraud_rule_set_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="set twice"):
        parse_rules(["fraud.rules.CADENCE.mode=off", "fraud.rules.CADENCE.mode=score"])


def test_of_a_map_only_what_is_named_changes() -> None:
    value = {"a": 1, "fraud": {"review_from": 40, "rules": {"X": {"mode": "off", "low": 3}}}}
    changes = {"fraud": {"rules": {"X": {"mode": "score"}, "Y": {"weight": 5}}}, "b": {"c": 1}}
    assert merged(value, changes) == {
        "a": 1,
        "fraud": {
            "review_from": 40,
            "rules": {"X": {"mode": "score", "low": 3}, "Y": {"weight": 5}},
        },
        "b": {"c": 1},
    }
    assert value["fraud"] == {"review_from": 40, "rules": {"X": {"mode": "off", "low": 3}}}
    assert merged({"fraud": None}, {"fraud": {"review_from": 1}}) == {"fraud": {"review_from": 1}}


def test_a_ramp_must_rise_or_fall_as_its_signal_does() -> None:
    rising = {"rules": {"IP_VELOCITY": {"low": 30}, "CTIT_TOO_SHORT": {"low": 5000}}}
    assert ramp_faults(rising) == []
    (fault,) = ramp_faults({"rules": {"IP_VELOCITY": {"low": 31}}})
    assert "low (31) is above high (30)" in fault
    (fault,) = ramp_faults({"rules": {"CTIT_TOO_SHORT": {"high": 10_001}}})
    assert "less is worse" in fault


# ---- Clicks --------------------------------------------------------------------------------


def click(number: int, verdict: str, counted: str = "counted", **fields: int) -> list[Any]:
    where = [fields.get("program", 1), fields.get("partner", 1), 1, fields.get("at_ms", 1500)]
    return [bytes([number]), 1, *where, 0, 2, 1, 0, verdict, counted, 1, 0, 0, b"", b"record"]


def revised(number: int, verdict: str, counted: str = "counted") -> list[Any]:
    return [bytes([number]), 1, 1600, 1, verdict, counted, 1, 0, 0, b"", "CADENCE", bytes(16)]


def outcomes(clicks: list[list[Any]], changes: Sequence[list[Any]] = ()) -> bytes:
    packed: bytes = msgpack.packb(
        {"observations": [[1]], "clicks": clicks, "decision_revised": list(changes), "ticks": 3}
    )
    return packed


def taken(*batches: bytes) -> Clicks:
    clicks = Clicks(1, SPAN)
    for batch in batches:
        clicks.take(batch)
    return clicks


def test_rows_of_one_table_are_read() -> None:
    raw = outcomes([click(1, "accept")], [revised(1, "review")])
    assert list(rows_of(raw, "observations")) == [[1]]
    assert [row[0] for row in rows_of(raw, "clicks")] == [b"\x01"]
    assert list(rows_of(raw, "conversions")) == []


def test_clicks_are_told_apart_by_how_they_ended() -> None:
    before = taken(
        outcomes(
            [
                click(1, "accept"),
                click(2, "accept", "duplicate"),
                click(3, "review", partner=2),
                click(4, "filtered", "prefetch"),
                click(5, "reject"),
            ]
        ),
    )
    found = compare_clicks(before, before)
    assert list(found) == [1, 2]
    assert found[1].before == {"accept": 1, "uncounted": 1, "filtered": 1, "reject": 1}
    assert found[2].before == found[2].after == {"review": 1}
    assert total(found).changed == 0
    assert set(found[1].before) <= set(STATES)


def test_a_decision_made_again_counts_as_it_was_made_last() -> None:
    before = taken(outcomes([click(1, "accept"), click(2, "accept")]))
    after = taken(
        outcomes([click(1, "accept"), click(2, "review")], [revised(1, "review")]),
        outcomes([], [revised(1, "reject"), revised(9, "reject")]),
    )
    (change,) = compare_clicks(before, after).values()
    assert change.before == {"accept": 2}
    assert change.after == {"reject": 1, "review": 1}
    assert change.changed == 2


def test_only_clicks_of_the_program_and_the_span_that_are_no_tests() -> None:
    clicks = [
        click(1, "accept", at_ms=999),
        click(2, "accept", at_ms=2000),
        click(3, "accept", program=2),
        click(4, "accept", "test"),
        click(5, "accept", at_ms=1000),
    ]
    assert list(taken(outcomes(clicks)).states) == [b"\x05"]


def test_more_clicks_than_can_be_compared_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SIMULATED_CLICKS_MAX", 2)
    clicks = taken(outcomes([click(1, "accept"), click(2, "accept")]))
    with pytest.raises(HeadwaterError, match="more than 2 clicks"):
        clicks.take(outcomes([click(3, "accept")]))


def test_partners_add_up() -> None:
    one = PartnerClicks()
    one.add("accept", "review")
    both = total({1: one, 2: one})
    assert (both.before["accept"], both.after["review"], both.changed) == (2, 2, 2)
