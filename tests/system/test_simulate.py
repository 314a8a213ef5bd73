"""`headwater simulate`: the archive under other rules, beside a ledger that is left alone."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headwater import clock, ids, limits
from headwater.errors import (
    ConfigError,
    HeadwaterError,
    LedgerError,
    ReplayMismatch,
    SchemaMismatch,
)
from headwater.ledger import matching
from headwater.ledger.engine import open_ledger
from headwater.ledger.objects import Origin, create_brand
from headwater.model.records import Client, ErasureBody, Flag, Kind, Record, Source, Trust, encode
from headwater.ops import simulate as simulation
from headwater.ops.demo_traffic import BROWSERS
from headwater.ops.simulate import make_plan, simulate
from headwater.ops.simulate_clicks import STATES
from headwater.ops.simulate_report import EXAMPLES
from journal_tools import encode_frame
from simulate_tools import (
    DAY_MS,
    HOUR_MS,
    SINCE,
    T0,
    Scene,
    conversion_id,
    edit_ledger,
    event_id_of,
    ledger_rows,
    order_text,
    scene_in,
    visitor,
)
from system_tools import System

DAY_S = 86_400
SHARE = 1_000_000
NO_CLICKS = dict.fromkeys(STATES, 0)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with scene_in(tmp_path) as made:
        yield made


@pytest.fixture
def told(scene: Scene) -> Scene:
    """Three orders: one five days after its click, one an hour after, one of a stranger."""
    scene.send(T0 + 1, scene.click(T0, 0, who=1))
    scene.send(T0 + 5 * DAY_MS, scene.click(T0 + 5 * DAY_MS, 1, who=2))
    at_ms = T0 + 5 * DAY_MS + HOUR_MS
    scene.send(at_ms, scene.sale(at_ms, 1, who=1), scene.sale(at_ms, 2, who=2))
    scene.send(at_ms, scene.sale(at_ms, 3, who=3))
    return scene


def test_a_shorter_window_takes_credit_away(told: Scene, capsys: Any) -> None:
    report = told.simulate(capsys, "click_window_days=3")
    assert (report["conversions"], report["conversions_moved"]) == (3, 1)
    loser, other = told.partner(report, 0), told.partner(report, 1)
    assert (loser["before_ppm"], loser["after_ppm"]) == (SHARE, 0)
    assert (loser["lost_ppm"], loser["gained_ppm"], loser["difference_ppm"]) == (SHARE, 0, -SHARE)
    assert (loser["conversions_lost"], loser["conversions_gained"]) == (1, 0)
    assert (other["before_ppm"], other["after_ppm"]) == (SHARE, SHARE)
    assert loser["name"] == "Partner 0"
    assert report["totals"]["difference_ppm"] == -SHARE
    assert report["unattributed"] == {
        "before": {"conversions": 1, "reasons": {"no_identifier_known": 1}},
        "after": {"conversions": 2, "reasons": {"no_identifier_known": 1, "outside_window": 1}},
    }
    (moved,) = report["moved"]
    assert (moved["conversion_id"], moved["order_id"]) == (order_text(1), "A-1")
    (credit,) = moved["before"]["credits"]
    assert (credit["partner_id"], credit["share_ppm"]) == (loser["partner_id"], SHARE)
    assert moved["after"] == {"reason": "outside_window", "credits": []}
    assert report["ledger"] == {
        "compared": 3, "differing": 0, "missing": 0, "touched_by_erasure": 0, "conversions": []
    }  # fmt: skip
    assert report["notes"] == []


def test_a_longer_window_gives_credit(scene: Scene, capsys: Any) -> None:
    scene.send(T0 + 1, scene.click(T0, 0, who=1))
    at_ms = T0 + 20 * DAY_MS
    scene.send(at_ms, scene.sale(at_ms, 1, who=1))
    report = scene.simulate(capsys, f"click_window_seconds={30 * DAY_S}")
    partner = scene.partner(report, 0)
    assert (partner["before_ppm"], partner["gained_ppm"], partner["conversions_gained"]) == (
        0,
        SHARE,
        1,
    )
    assert report["rules"]["before"]["values"]["program"]["window_ms"] == 10 * DAY_MS
    assert report["rules"]["after"]["values"]["program"]["window_ms"] == 30 * DAY_MS
    hashes = {report["rules"][side]["config_hash"] for side in ("before", "after")}
    assert len(hashes) == 2


def test_the_rules_in_force_move_nothing(told: Scene, capsys: Any) -> None:
    report = told.simulate(capsys, "click_window_days=10")
    assert report["conversions_moved"] == 0
    assert report["moved"] == []
    rules = report["rules"]
    assert rules["before"]["config_hash"] == rules["after"]["config_hash"]
    assert report["notes"] == ["the rules asked for are those in force now"]


def test_an_order_decided_again_counts_as_it_was_decided_last(scene: Scene, capsys: Any) -> None:
    click = scene.click(T0, 0, who=1)
    scene.send(T0 + 1, click)
    at_ms = T0 + 5 * DAY_MS
    scene.send(at_ms, scene.sale(at_ms, 1, who=9))
    scene.send(at_ms, scene.sale(at_ms, 1, who=9, click_id=event_id_of(click)))
    report = scene.simulate(capsys, "click_window_days=3")
    assert (report["conversions"], report["conversions_moved"]) == (1, 1)
    assert scene.partner(report, 0)["before_ppm"] == SHARE
    assert report["ledger"]["differing"] == 0


def test_other_fraud_rules_move_clicks_and_the_credit_that_hangs_on_them(
    scene: Scene, capsys: Any
) -> None:
    script = Client(None, "curl/8.5.0", None)
    browser = Client(None, BROWSERS[0], None)
    scene.send(T0 + 1, scene.click(T0, 0, who=1, client=browser))
    scene.send(T0 + 2, scene.click(T0 + 2, 1, who=1, client=script))
    at_ms = T0 + HOUR_MS
    scene.send(at_ms, scene.sale(at_ms, 1, who=1))
    report = scene.simulate(capsys, "fraud.rules.GIVT_UNKNOWN_BROWSER.mode=enforce")
    assert report["clicks"]["before"] == {**NO_CLICKS, "accept": 1, "review": 1}
    assert report["clicks"]["after"] == {**NO_CLICKS, "accept": 1, "reject": 1}
    assert report["clicks"]["changed"] == 1
    _, second = report["clicks"]["partners"]
    assert (second["name"], second["before"]["review"], second["changed"]) == ("Partner 1", 1, 1)
    (moved,) = report["moved"]
    assert moved["before"]["credits"][0]["partner_id"] == ids.object_text("prt", scene.partners[1])
    assert moved["after"]["credits"][0]["partner_id"] == ids.object_text("prt", scene.partners[0])
    changed = report["rules"]["after"]["values"]["program"]["fraud"]
    assert changed["rules"] == {"GIVT_UNKNOWN_BROWSER": {"mode": "enforce"}}


def test_clicks_are_told_only_where_a_change_can_move_them(told: Scene, capsys: Any) -> None:
    assert "clicks" not in told.simulate(capsys, "model=linear")
    report = told.simulate(capsys, "fraud.review_from=39")
    assert report["clicks"]["changed"] == 0
    assert sum(report["clicks"]["before"].values()) == 2


def test_a_ramp_that_does_not_hold_together_is_refused(told: Scene) -> None:
    with pytest.raises(ConfigError, match=r"low \(31\) is above high \(30\)"):
        make_plan(told.ledger, "check", SINCE, None, ["fraud.rules.IP_VELOCITY.low=31"])


def test_only_conversions_of_the_span_are_compared(scene: Scene, capsys: Any) -> None:
    """Earlier traffic still builds the state: the click is from before the span."""
    scene.send(T0 + 1, scene.click(T0, 0, who=1))
    days = [T0 + day * DAY_MS for day in (4, 5, 6)]
    for order, at_ms in enumerate(days):
        scene.send(at_ms, scene.sale(at_ms, order, who=1))
    for since, until, orders in (
        (days[1], None, [1, 2]),
        (days[1], days[2], [1]),
        (days[0] + 1, days[2] + 1, [1, 2]),
        (days[2] + 1, None, []),
    ):
        report = scene.simulate(
            capsys,
            "click_window_days=2",
            since=clock.iso_ms(since),
            until=None if until is None else clock.iso_ms(until),
        )
        assert [each["conversion_id"] for each in report["moved"]] == [*map(order_text, orders)]
        assert report["ledger"]["compared"] == len(orders)
        assert report["until"] == (None if until is None else clock.iso_ms(until))


def test_what_is_not_named_follows_the_history_of_the_program(scene: Scene, capsys: Any) -> None:
    """The window was three days, then ten: only the model is asked about."""
    scene.change(click_window_seconds=3 * DAY_S)
    scene.publish(T0)
    scene.send(T0 + 1, scene.click(T0, 0, who=1))
    at_ms = T0 + 4 * DAY_MS
    scene.send(at_ms, scene.sale(at_ms, 1, who=1))
    scene.change(click_window_seconds=10 * DAY_S)
    scene.publish(at_ms)
    scene.send(at_ms, scene.sale(at_ms, 2, who=1))
    report = scene.simulate(capsys, "hops_max=9")
    assert report["conversions_moved"] == 0
    assert scene.partner(report, 0)["after_ppm"] == SHARE
    assert "the program was changed 2 times" in report["notes"][0]
    # ... and what is named holds from the beginning.
    report = scene.simulate(capsys, "click_window_days=10")
    assert [each["conversion_id"] for each in report["moved"]] == [order_text(1)]


def test_an_archive_that_begins_late_is_told_the_rules_of_its_beginning(
    scene: Scene, capsys: Any
) -> None:
    """Not those of now: the engine's own default would be 30 days, the newest is 20."""
    scene.change(click_window_seconds=3 * DAY_S)
    scene.publish(T0)
    scene.take_over()
    scene.send(T0 + 1, scene.click(T0, 0, who=1))
    at_ms = T0 + 4 * DAY_MS
    scene.send(at_ms, scene.sale(at_ms, 1, who=1))
    scene.change(click_window_seconds=20 * DAY_S)
    scene.publish(at_ms)
    oldest, *_rest = matching.archive_manifest(scene.ledger, 0)
    edit_ledger(scene.data, "DELETE FROM archive_segments WHERE name = ?", oldest.name)
    report = scene.simulate(capsys, "click_window_days=5")
    assert [each["conversion_id"] for each in report["moved"]] == [order_text(1)]
    assert scene.partner(report, 0)["gained_ppm"] == SHARE
    assert report["ledger"]["differing"] == 0
    assert "the archive begins after the program was made" in report["notes"][0]
    assert not any("digest" in note for note in report["notes"])


def test_other_programs_and_brands_in_the_same_frames_keep_their_rules(
    scene: Scene, capsys: Any
) -> None:
    brand, program = scene.make("other")
    scene.publish(T0)
    other = {"brand": brand, "program": program}
    scene.send(T0 + 1, scene.click(T0, 0, who=1), scene.click(T0, 1, who=2, **other))
    at_ms = T0 + 5 * DAY_MS
    scene.send(at_ms, scene.sale(at_ms, 1, who=1), scene.sale(at_ms, 2, who=2, **other))
    report = scene.simulate(capsys, "click_window_days=2")
    assert (report["conversions"], report["conversions_moved"]) == (1, 1)
    report = scene.simulate(capsys, "click_window_days=2", program="other")
    assert [each["conversion_id"] for each in report["moved"]] == [order_text(2)]


def test_frames_set_aside_are_left_out_of_both_replays(scene: Scene, capsys: Any) -> None:
    ordered = scene.frame(scene.click(T0, 0, who=1))
    place = (scene.partition.position[0], scene.partition.position[1] + 1)
    epoch = matching.partition_rows(scene.ledger)[0].epoch
    matching.add_quarantine(scene.ledger, 0, epoch, place, "panic", ordered)
    scene.take_over()
    damaged = scene.frame(scene.click(T0, 1, who=1))
    scene.commit(T0, ordered, damaged[:-1] + b"?", b"no frame")
    at_ms = T0 + HOUR_MS
    scene.send(at_ms, scene.sale(at_ms, 1, who=1))
    report = scene.simulate(capsys, "click_window_days=2")
    assert report["partners"] == []
    assert report["unattributed"]["after"]["conversions"] == 1
    assert report["ledger"]["differing"] == 0
    assert report["notes"] == []


def test_a_bad_record_of_another_brand_takes_the_whole_frame_aside(
    scene: Scene, capsys: Any
) -> None:
    """Left out before it is seen, it would let the click beside it count."""
    brand, program = scene.make("other")
    scene.publish(T0)
    ours = scene.click(T0, 0, who=1)
    theirs = bytearray(scene.click(T0, 1, who=2, brand=brand, program=program))
    theirs[1] = 99
    scene.commit(T0, encode_frame(0, 8, 1, [ours, bytes(theirs)]))
    at_ms = T0 + HOUR_MS
    scene.send(at_ms, scene.sale(at_ms, 1, who=1))
    report = scene.simulate(capsys, "click_window_days=2")
    assert report["partners"] == []
    assert report["ledger"]["differing"] == 0


def test_test_conversions_are_counted_apart(scene: Scene, capsys: Any) -> None:
    scene.send(T0 + 1, scene.click(T0, 0, who=1))
    at_ms = T0 + 5 * DAY_MS
    scene.send(at_ms, scene.sale(at_ms, 1, who=1, flags=Flag.TEST))
    report = scene.simulate(capsys, "click_window_days=2")
    assert (report["conversions"], report["test_conversions"]) == (0, 1)
    assert report["moved"] == []
    assert report["ledger"]["compared"] == 1


# ---- The ledger ----------------------------------------------------------------------------


def test_the_ledger_is_left_as_it_was_and_cannot_be_written(told: Scene, capsys: Any) -> None:
    before = ledger_rows(told.data)
    files = {
        path: path.read_bytes() for path in (told.data / "archive").rglob("*") if path.is_file()
    }
    told.simulate(capsys, "click_window_days=3")
    assert ledger_rows(told.data) == before
    assert {path: path.read_bytes() for path in files} == files
    ledger = open_ledger(f"sqlite:///{told.data / 'ledger.sqlite'}", read_only=True)
    try:
        with pytest.raises(LedgerError, match="readonly"):
            create_brand(ledger, Origin(), name="no")
    finally:
        ledger.close()


def test_a_ledger_that_is_not_there_or_of_another_version_is_not_made(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'none' / 'ledger.sqlite'}"
    with pytest.raises(LedgerError, match="there is no ledger"):
        open_ledger(url, read_only=True)
    assert list(tmp_path.iterdir()) == []
    empty = tmp_path / "ledger.sqlite"
    empty.touch()
    with pytest.raises(SchemaMismatch):
        open_ledger(f"sqlite:///{empty}", read_only=True)


def test_a_ledger_that_differs_is_said_and_the_comparison_made(told: Scene, capsys: Any) -> None:
    partner = told.partners[2]
    edit_ledger(told.data, "UPDATE credits SET partner = ?", partner)
    edit_ledger(told.data, "DELETE FROM conversions WHERE conversion_id = ?", conversion_id(3))
    report = told.simulate(capsys, "click_window_days=3")
    assert report["conversions_moved"] == 1
    found = report["ledger"]
    assert (found["compared"], found["differing"], found["missing"]) == (2, 2, 1)
    assert sorted(found["conversions"]) == [order_text(1), order_text(2)]


def test_what_rests_on_erased_identifiers_may_differ(told: Scene, capsys: Any) -> None:
    edit_ledger(told.data, "UPDATE credits SET partner = ?", told.partners[2])
    at_ms = T0 + 6 * DAY_MS
    flags = [False] * (len(ErasureBody._fields) - 2)
    body = ErasureBody._make(["identifier", *flags, (visitor(1),)])
    told.send(
        at_ms,
        encode(
            Record(
                *(Kind.ERASURE, ids.event_id(at_ms), told.brand, at_ms, None),
                *(Trust.SERVER, Source.CONSOLE, body),
            )
        ),
    )
    report = told.simulate(capsys, "click_window_days=3")
    assert report["erasures"] == 1
    assert report["ledger"]["touched_by_erasure"] == 1
    assert report["ledger"]["conversions"] == [order_text(2)]


def test_what_is_committed_meanwhile_is_no_difference(told: Scene) -> None:
    """A new order, and an order decided again, while the archive is read."""
    plan = make_plan(told.ledger, "check", SINCE, None, ["click_window_days=3"])
    at_ms = T0 + 7 * DAY_MS

    def watch(entries: Any, total_bytes: int) -> Any:
        assert total_bytes > 0
        click = told.click(at_ms, 2, who=5)
        named = event_id_of(click)
        told.send(at_ms, click, told.sale(at_ms, 4, who=5))
        told.send(at_ms, told.sale(at_ms, 3, who=3, click_id=named, identifiers=[visitor(2)]))
        yield from entries

    report = simulate(told.ledger, told.data, plan, watch)
    assert report.comparison.conversions == 3
    assert report.ledger.compared == 4
    assert (report.ledger.differing, report.ledger.missing) == ([], 0)


def test_an_order_decided_again_while_the_ledger_is_read_is_no_difference(
    told: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(told.ledger, "check", SINCE, None, ["click_window_days=3"])
    at_ms = T0 + 7 * DAY_MS
    click = told.click(at_ms, 2, who=5)
    asked: list[int] = []
    position = simulation._partition

    def watch(entries: Any, _total_bytes: int) -> Any:
        told.send(at_ms, click, told.sale(at_ms, 4, who=6))
        yield from entries

    def later(ledger: Any, partition: int) -> Any:
        asked.append(partition)
        if len(asked) == 2:
            told.send(at_ms, told.sale(at_ms, 4, who=6, click_id=event_id_of(click)))
        return position(ledger, partition)

    monkeypatch.setattr(simulation, "_partition", later)
    report = simulate(told.ledger, told.data, plan, watch)
    assert len(asked) == 2
    assert (report.ledger.compared, report.ledger.differing) == (4, [])


def test_an_archive_that_is_not_whole_is_refused(told: Scene, capsys: Any) -> None:
    edit_ledger(told.data, "UPDATE partitions SET stream_ms = stream_ms + 1")
    with pytest.raises(ReplayMismatch, match="ends at"):
        told.simulate(capsys, "click_window_days=3")


def test_more_conversions_than_can_be_compared_are_refused(
    told: Scene, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SIMULATED_CONVERSIONS_MAX", 3)
    assert told.simulate(capsys, "click_window_days=3")["conversions"] == 3
    monkeypatch.setattr(limits, "SIMULATED_CONVERSIONS_MAX", 2)
    with pytest.raises(HeadwaterError, match="shorter span"):
        told.simulate(capsys, "click_window_days=3")


# ---- The command ---------------------------------------------------------------------------


def command(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "headwater", "simulate", "--data", str(data), *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_the_command_prints_tables_and_writes_rows(told: Scene, tmp_path: Path) -> None:
    at_ms = T0 + 5 * DAY_MS
    many = EXAMPLES + 3
    orders = range(100, 100 + many)
    told.send(at_ms, *(told.sale(at_ms, n, who=1, order_id=f"=A{n}") for n in orders))
    file = tmp_path / "moved.csv"
    asked = ("--program", "check", "--since", SINCE, "--set", "click_window_days=3")
    done = command(told.data, *asked, "--csv", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{many + 1} would be credited otherwise" in done.stdout
    assert "Partner 0" in done.stdout
    assert "program window_ms" in done.stdout
    assert f"{EXAMPLES} of {many + 1} conversions" in done.stdout
    assert "repeats the ledger" in done.stdout
    with file.open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert len(rows) == many + 1
    assert rows[0]["order_id"].startswith("'=A")
    assert (rows[0]["share_ppm_before"], rows[0]["share_ppm_after"]) == (str(SHARE), "0")
    assert rows[0]["reason_after"] == "outside_window"
    listed = command(told.data, "--json", *asked, "hops_max=9")
    assert len(json.loads(listed.stdout)["moved"]) == many + 1


def test_everything_wrong_with_a_question_is_said_at_once(told: Scene) -> None:
    asked = ("--program", "none", "--since", "yesterday", "--until", "never")
    done = command(told.data, *asked, "--set", "model=best", "--set", "speed=9", "hops_max=0")
    assert (done.returncode, done.stdout) == (2, "")
    for fault in ("--program", "--since", "--until", "model", "speed", "hops_max"):
        assert fault in done.stderr
    assert len(done.stderr.splitlines()) == 6
    assert command(told.data, "--program", "check", "--since", "30d").returncode == 2
    nowhere = ("--program", "check", "--since", "30d", "hops_max=9", "--csv", "/no/where/x.csv")
    assert "--csv" in command(told.data, *nowhere).stderr


def test_it_runs_beside_the_live_system(tmp_path: Path) -> None:
    now_ms = clock.now_ms()
    with System(tmp_path) as system:
        scene = system.program(partners=2)
        partners = system.console.get("/v1/partners?limit=10")["items"]
        for who, (partner, days) in enumerate(((0, 5), (1, 1))):
            click = {
                "program": scene.program,
                "partner": partners[partner]["id"],
                "customer_id": f"c{who}",
                "occurred_at": clock.iso_ms(now_ms - days * DAY_MS),
            }
            assert system.edge("POST", "/v1/clicks", click, scene.key).status == 201
            sale = {
                "program": scene.program,
                "event": "sale",
                "order_id": f"A-{who}",
                "amount": "10.00",
                "customer_id": f"c{who}",
            }
            assert system.convert(sale, scene.key)["status"] == "attributed"
        system.wait_committed(4)
        done = command(
            system.settings.data,
            *("--program", scene.program, "--since", "1h", "--json", "click_window_days=3"),
        )
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert report["ledger"]["differing"] == report["ledger"]["missing"] == 0
        assert [each["order_id"] for each in report["moved"]] == ["A-0"]
        assert report["notes"] == []
        assert system.edge("GET", "/readyz").status == 200
        assert system.stop() == 0
