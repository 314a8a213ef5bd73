"""What `simulate` may be asked, and frames with changed control records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from headwater import _core, ids
from headwater.errors import ConfigError, HeadwaterError
from headwater.limits import CLICK_WINDOW_S_MAX, CLICK_WINDOW_S_MIN
from headwater.model.records import (
    NO_CLIENT,
    ControlBody,
    ErasureBody,
    IdentifyBody,
    Kind,
    Record,
    Source,
    Trust,
    decode,
    encode,
)
from headwater.ops.simulate_compare import PartnerChange
from headwater.ops.simulate_replay import (
    Erasures,
    OneBrand,
    Overlay,
    batches,
    first_revisions,
    records_of,
)
from headwater.ops.simulate_report import credit, signed
from headwater.ops.simulate_rules import (
    KEYS,
    idle_members,
    parse_moment,
    parse_rules,
    parse_span,
)

NOW_MS = 1_790_000_000_000
DAY_MS = 86_400_000
# What a reader takes; writers stay far below.
FRAME_BYTES_MAX = 1 << 20
ALL_CLASSES = ["exclusive_coupon", "click", "soft_click", "impression"]


def faults_of(*settings: str, events: Sequence[str] = ()) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        parse_rules(settings, events)
    return refused.value.faults


# ---- Rules ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "member", "value"),
    [
        *(
            (f"model={model}", "model", model)
            for model in ("last_click", "first_click", "linear", "position", "time_decay")
        ),
        ("position=40/20/40", "position_ppm", [400_000, 200_000, 400_000]),
        ("position=33.3333,33.3334,33.3333", "position_ppm", [333_333, 333_334, 333_333]),
        ("position=1000000/0/0", "position_ppm", [1_000_000, 0, 0]),
        ("position= 0 , 100 , 0 ", "position_ppm", [0, 1_000_000, 0]),
        ("half_life_days=7", "half_life_ms", 7 * DAY_MS),
        ("half_life_days=0.5", "half_life_ms", DAY_MS // 2),
        ("class_order=click", "class_order", ["click"]),
        (f"class_order={','.join(ALL_CLASSES)}", "class_order", ALL_CLASSES),
        ("class_order=soft_click, click", "class_order", ["soft_click", "click"]),
        ("click_window_days=30", "window_ms", 30 * DAY_MS),
        (f"click_window_seconds={CLICK_WINDOW_S_MIN}", "window_ms", CLICK_WINDOW_S_MIN * 1000),
        (f"click_window_seconds={CLICK_WINDOW_S_MAX}", "window_ms", CLICK_WINDOW_S_MAX * 1000),
        ("soft_click_window_seconds=7200", "soft_click_window_ms", 7_200_000),
        ("impression_window_seconds=7200", "impression_window_ms", 7_200_000),
        ("explicit_click=candidate", "explicit_click", "candidate"),
        ("on_conflict=isolate", "on_conflict", "isolate"),
        ("per_partner_latest=true", "per_partner_latest", True),
        ("per_partner_latest=false", "per_partner_latest", False),
        ("members_max=256", "members_max", 256),
        ("hops_max=16", "hops_max", 16),
        ("neighbours_max=48", "neighbours_max", 48),
        (" hops_max = 1 ", "hops_max", 1),
    ],
)
def test_a_setting_becomes_a_member_of_the_programs_control(
    setting: str, member: str, value: Any
) -> None:
    rules = parse_rules([setting])
    assert rules.program == {member: value}
    assert rules.event_types == {}


@pytest.mark.parametrize(
    "setting",
    [
        "model=best",
        "model=",
        "model",
        "=5",
        "window_ms=5",
        "position=40/20",
        "position=40/20/41",
        "position=40/20/20/20",
        "position=-10/50/60",
        "position=33.33333/33.33334/33.33333",
        "position=1e2/0/0",
        "position=NaN/0/0",
        "half_life_days=0",
        "half_life_days=401",
        "half_life_days=1.000001",
        "half_life_days=99999999999999999999999",
        "class_order=",
        "class_order=click,click",
        "class_order=click,coupon",
        "click_window_days=-1",
        "click_window_days=+1",
        "click_window_days=1_0",
        "click_window_days=٣",
        "click_window_days=infinity",
        f"click_window_seconds={CLICK_WINDOW_S_MIN - 1}",
        f"click_window_seconds={CLICK_WINDOW_S_MAX + 1}",
        "explicit_click=maybe",
        "on_conflict=",
        "per_partner_latest=yes",
        "members_max=0",
        "members_max=257",
        "hops_max=0",
        "hops_max=17",
        "neighbours_max=0",
        "neighbours_max=49",
        "neighbours_max=1.5",
        "neighbours_max=²",
    ],
)
def test_another_setting_is_refused(setting: str) -> None:
    (fault,) = faults_of(setting)
    assert fault.startswith(f"--set {setting.partition('=')[0]}:")


def test_every_fault_is_said_and_then_none_holds() -> None:
    faults = faults_of(
        *("model=best", "hops_max=8", "speed=9", "click_window_days=3"),
        "click_window_seconds=7200",
    )
    assert [fault.split()[1] for fault in faults] == ["model:", "speed:", "click_window_seconds:"]
    assert "set twice" in faults[2]
    assert all(key in faults[1] for key in KEYS)


def test_an_event_type_may_have_a_window_of_its_own() -> None:
    rules = parse_rules(
        ["click_window_days:sale=2", "click_window_days=5", "click_window_seconds:lead=7200"],
        ["sale", "lead"],
    )
    assert rules.program == {"window_ms": 5 * DAY_MS}
    assert rules.event_types == {
        "sale": {"window_ms": 2 * DAY_MS},
        "lead": {"window_ms": 7_200_000},
    }
    faults = faults_of("click_window_days:none=2", "model:sale=linear", events=["sale"])
    assert "no event type 'none'" in faults[0]
    assert "no such rule" in faults[1]


def test_a_rule_that_decides_nothing_is_named() -> None:
    rules = parse_rules(["position=50/0/50", "half_life_days=2"])
    assert len(idle_members(rules, "last_click")) == 2
    (idle,) = idle_members(rules, "position")
    assert "half_life_ms" in idle


# ---- Times ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("30d", NOW_MS - 30 * DAY_MS),
        ("12h", NOW_MS - DAY_MS // 2),
        ("5m", NOW_MS - 300_000),
        ("7s", NOW_MS - 7000),
        ("0d", NOW_MS),
        ("999999999d", 0),
        ("2026-09-21T14:13:20Z", NOW_MS),
        ("2026-09-21T16:13:20+02:00", NOW_MS),
    ],
)
def test_a_time_is_given_or_counted_back_from_now(text: str, at_ms: int) -> None:
    assert parse_moment(text, NOW_MS) == at_ms


@pytest.mark.parametrize(
    "text",
    ["", "30", "d", "-3d", "3w", "1.5d", "yesterday", "2026-09-21", "2026-09-21T14:13:20", "٣d",
     "0001-01-01T00:00:00+14:00", "1900-01-01T00:00:00Z", "9999999999d"],
)  # fmt: skip
def test_another_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_moment(text, NOW_MS)


def test_a_span_has_a_beginning_before_its_end() -> None:
    assert parse_span("2d", "1d", NOW_MS) == (NOW_MS - 2 * DAY_MS, NOW_MS - DAY_MS)
    assert parse_span("2d", None, NOW_MS).until_ms > NOW_MS * 2
    for since, until, count in (("1d", "2d", 1), ("1d", "1d", 1), ("x", "y", 2)):
        with pytest.raises(ConfigError) as refused:
            parse_span(since, until, NOW_MS)
        assert len(refused.value.faults) == count


# ---- Frames --------------------------------------------------------------------------------


def control(kind: str, number: int, revision: int, value: Any, brand: int = 3) -> bytes:
    body = ControlBody(kind, number, revision, value)
    return record(Kind.CONTROL, body, brand)


def record(kind: Kind, body: Any, brand: int = 3) -> bytes:
    event = ids.event_id(NOW_MS)
    return encode(Record(kind, event, brand, NOW_MS, None, Trust.SERVER, Source.CONSOLE, body))


def identify(brand: int = 3, padding: str = "") -> bytes:
    client = NO_CLIENT._replace(user_agent=padding or None)
    return record(Kind.IDENTIFY, IdentifyBody(5, 0, (), client), brand)


def frame(*records: bytes) -> bytes:
    return _core.encode_frame(2, 77, 40, list(records))


def bodies(of_frame: bytes) -> list[Any]:
    return [decode(raw).body for raw in records_of(of_frame, b"\x98")]


def test_only_the_values_named_change_and_all_else_keeps_its_bytes() -> None:
    value = {"code": "x", "window_ms": 5, "list": [1, "a", None], "status": "active"}
    records = [
        identify(),
        control("program", 5, 9, value),
        control("program", 6, 10, value),
        control("event_type", 5, 11, value),
        control("program", 5, 12, None),
        control("program", 5, 13, {**value, "code": "y"}),
    ]
    overlay = Overlay({("program", 5): {"window_ms": 6, "model": "linear"}}, {})
    before = frame(*records)
    after = overlay.rewrite(before)
    assert _core.frame_header(after) == _core.frame_header(before)
    was, now = records_of(before, b"\x98"), records_of(after, b"\x98")
    assert [old == new for old, new in zip(was, now, strict=True)] == [
        True, False, True, True, True, False
    ]  # fmt: skip
    assert bodies(after)[1].value == {**value, "window_ms": 6, "model": "linear"}
    assert bodies(after)[5].value == {**value, "window_ms": 6, "model": "linear", "code": "y"}
    assert overlay.revisions == 2
    assert decode(now[1])[:7] == decode(was[1])[:7]


@pytest.mark.parametrize(
    "made",
    [
        b"",
        b"HWF",
        frame(identify()),
        frame(control("program", 6, 1, {})),
        frame(control("program", 5, 1, {}))[:-1] + b"\x00",
        frame(control("program", 5, 1, {}))[:-1],
        frame(control("program", 5, 1, {}))[:3] + b"\x07" + frame(control("program", 5, 1, {}))[4:],
    ],
    ids=["empty", "magic", "other_kind", "other_program", "checksum", "short", "version"],
)
def test_a_frame_with_nothing_to_change_or_to_read_stays(made: bytes) -> None:
    assert Overlay({("program", 5): {"window_ms": 6}}, {}).rewrite(made) is made


def test_a_value_is_replaced_whole_or_taken_away() -> None:
    made = frame(control("terms", 5, 8, {"window_ms": 5}), control("terms", 6, 9, {"window_ms": 6}))
    overlay = Overlay({}, {("terms", 5): None, ("terms", 6): {"events": {}}})
    assert [body.value for body in bodies(overlay.rewrite(made))] == [None, {"events": {}}]
    assert overlay.revisions == 0


def test_a_frame_that_has_no_room_for_the_change_is_an_error() -> None:
    last = control("program", 5, 1, {})
    padding = [identify(padding="u" * 2000)]
    room = FRAME_BYTES_MAX - 32 - len(last)
    count = room // len(padding[0]) - 1
    rest = room - count * len(padding[0])
    filler = identify(padding="u" * (2000 + rest - len(padding[0])))
    full = frame(*(padding * count), filler, last)
    assert FRAME_BYTES_MAX - 8 < len(full) <= FRAME_BYTES_MAX
    with pytest.raises(HeadwaterError, match="do not fit"):
        Overlay({("program", 5): {"model": "last_click"}}, {}).rewrite(full)


@pytest.mark.parametrize("brand", [3, 127, 128, 70_000, 1 << 40])
def test_records_of_other_brands_become_ticks_in_their_places(brand: int) -> None:
    records = [identify(brand), identify(brand + 1), identify(0), identify(brand), identify(1)]
    before = frame(*records)
    after = OneBrand(brand).rewrite(before)
    assert _core.frame_header(after) == _core.frame_header(before)
    kinds = [decode(raw).kind for raw in records_of(after, b"\x98")]
    assert kinds == [Kind.IDENTIFY, Kind.TICK, Kind.IDENTIFY, Kind.IDENTIFY, Kind.TICK]
    assert [raw for raw in records_of(after, b"\x98") if raw in records] == [
        records[0], records[2], records[3]
    ]  # fmt: skip
    own = frame(identify(brand))
    assert OneBrand(brand).rewrite(own) is own
    damaged = before[:-1] + b"?"
    assert OneBrand(brand).rewrite(damaged) is damaged


def test_the_first_revisions_are_found_and_no_more_is_read() -> None:
    names = {("program", 5), ("event_type", 2)}
    frames = [
        frame(identify(), control("program", 6, 1, {})),
        frame(control("program", 5, 7, {}), control("program", 5, 8, {})),
        b"damaged",
        frame(control("event_type", 2, 9, {})),
    ]

    def entries() -> Any:
        yield (0, 0, frame(control("program", 5, 1, {}))), "set aside"
        yield from (((1, n, each), None) for n, each in enumerate(frames))
        raise AssertionError("read beyond what was looked for")

    assert first_revisions(entries(), names) == {("program", 5): 7, ("event_type", 2): 9}
    assert first_revisions([], names) == {}


def test_erasures_of_the_brand_are_noted() -> None:
    erasures = Erasures(3)
    flags = [False] * (len(ErasureBody._fields) - 2)
    body = ErasureBody._make(["person", *flags, ((1, b"a" * 16), (8, b"b" * 16))])
    for brand in (3, 4):
        erasures.look(frame(identify(), record(Kind.ERASURE, body, brand)))
    erasures.look(b"damaged")
    assert erasures.count == 1
    assert erasures.identifiers == {(1, b"a" * 16), (8, b"b" * 16)}


def test_batches_are_bounded_and_cut_at_what_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.limits.BATCH_FRAMES_MAX", 3)
    monkeypatch.setattr("headwater.limits.READ_BYTES_MAX", 20)
    entries = [(1, n, b"x" * size) for n, size in enumerate((1, 1, 1, 1, 20, 1, 30, 1))]
    reasons = [None, None, None, None, None, None, None, None]
    cut = [
        ([n for _, n, _ in run], reason)
        for run, reason in batches(zip(entries, reasons, strict=True))
    ]
    assert cut == [([0, 1, 2], None), ([3], None), ([4], None), ([5], None), ([6], None),
                   ([7], None)]  # fmt: skip
    aside = [(entries[0], None), (entries[1], "panic"), (entries[2], None)]
    assert [(len(run), reason) for run, reason in batches(aside)] == [
        (1, None), (1, "panic"), (1, None)
    ]  # fmt: skip


# ---- Sums ----------------------------------------------------------------------------------


def test_credits_are_shown_as_conversions() -> None:
    shown = [credit(ppm) for ppm in (0, 1, 1_000_000, 1_500_000, -333_333, -2_000_000)]
    assert shown == ["0", "0.000001", "1", "1.5", "-0.333333", "-2"]
    assert [signed(ppm) for ppm in (0, 500_000, -500_000)] == ["0", "+0.5", "-0.5"]


def test_a_partner_gains_and_loses_apart() -> None:
    change = PartnerChange()
    for before_ppm, after_ppm in ((0, 400), (1000, 0), (500, 800), (700, 700), (900, 100)):
        change.add(before_ppm, after_ppm)
    assert change == PartnerChange(
        before_ppm=3100,
        after_ppm=2000,
        gained_ppm=700,
        lost_ppm=1800,
        conversions_before=4,
        conversions_after=4,
        conversions_gained=1,
        conversions_lost=1,
    )
    double = PartnerChange()
    double.add_all(change)
    double.add_all(change)
    assert double.lost_ppm == 3600
