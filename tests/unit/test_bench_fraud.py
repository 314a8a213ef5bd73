"""The bench of injected attacks: the same again from the same seed, and what it counts."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from bench.fraud import click_log, cost
from bench.fraud.attacks import Attack, Stage
from bench.fraud.conversion_attacks import ATTACKS
from bench.fraud.events import BEGIN_MS, INJECTED
from bench.fraud.measure import CROWD, Bench, pooled, precision
from bench.fraud.play import Played, play
from bench.fraud.report import Result, page
from bench.fraud.world import CARRIERS, Background, generate

from headwater.ops import evaluate_clicks
from headwater.ops.evaluate_statistics import quantiles

CLICKS = 3000


@pytest.fixture(scope="module")
def background() -> Background:
    return generate(1, CLICKS)


def staged(background: Background, attack: Attack, count: int, pace: float, seed: int) -> Stage:
    stage = Stage(background, Random(seed))
    attack.play(stage, count, pace)
    return stage


# ---- Generators ----------------------------------------------------------------------------


def test_a_background_is_a_function_of_its_seed(background: Background) -> None:
    assert generate(1, CLICKS).events == background.events
    assert generate(2, CLICKS).events != background.events


def test_a_background_has_what_it_is_said_to_have(background: Background) -> None:
    assert background.clicks >= CLICKS
    numbers = [event.number for event in background.events]
    assert len(set(numbers)) == len(numbers)
    assert max(numbers) < INJECTED
    times = [event.at_ms for event in background.events]
    assert times == sorted(times)
    assert times[0] >= BEGIN_MS
    # People come again, share addresses, and some buy.
    by_cookie = Counter(visit.identifiers for visit in background.visits)
    by_address = Counter(visit.address for visit in background.visits)
    assert max(by_cookie.values()) > 2
    assert max(by_address.values()) > 20
    assert 0.01 < len(background.converted) / background.clicks < 0.1
    assert 0.3 < len(background.crowd) / background.clicks / CARRIERS.share < 3


@pytest.mark.parametrize("pace", [1, 16])
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_is_a_function_of_its_seed(
    background: Background, attack: Attack, pace: float
) -> None:
    stage = staged(background, attack, 40, pace, 3)
    assert stage.judged
    assert len(stage.judged) <= 60
    assert {event.number for event in stage.maker.events} >= stage.judged | stage.stolen
    assert min(event.number for event in stage.maker.events) >= INJECTED
    again = staged(background, attack, 40, pace, 3)
    assert again.maker.events == stage.maker.events
    other = staged(background, attack, 40, pace, 4)
    assert other.maker.events != stage.maker.events


def test_there_are_twelve_attacks() -> None:
    assert len({attack.name for attack in ATTACKS}) == 12


def test_a_generated_click_log_has_the_published_shape(tmp_path: Path) -> None:
    path = tmp_path / "clicks.csv"
    assert click_log.write(path, click_log.generate(20_000, 5)) == 20_000
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert tuple(rows[0]) == evaluate_clicks.COLUMNS
    parsed = [evaluate_clicks.parse(",".join(row)) for row in rows[1:]]
    assert [row.click_ms for row in parsed] == sorted(row.click_ms for row in parsed)
    per_address = Counter(row.ip for row in parsed).values()
    found = quantiles(per_address, {"p50": 0.5, "p99": 0.99})
    assert found["p50"] == pytest.approx(2, abs=1)
    assert found["p99"] == pytest.approx(18, abs=8)
    converted = [row for row in parsed if row.attributed_ms is not None]
    assert len(converted) / len(parsed) == pytest.approx(0.00227, rel=0.4)
    delays_s = [(row.attributed_ms or 0) / 1000 - row.click_ms / 1000 for row in converted]
    median = quantiles(delays_s, {"p50": 0.5})["p50"]
    assert median is not None
    assert 60 < median < 600


# ---- Counting ------------------------------------------------------------------------------


def test_quiet_traffic_has_no_attack(background: Background) -> None:
    found = play(background, None, 0, seed=1)
    assert (found.injected, found.detected, found.first_detected_s) == (0, 0, None)
    assert (found.background, found.converters) == (background.clicks, len(background.converted))


def test_invented_click_ids_earn_nothing(background: Background) -> None:
    (forged,) = [attack for attack in ATTACKS if attack.name == "forged postback"]
    found = play(background, forged, 30, seed=9)
    assert (found.injected, found.detected) == (30, 30)
    assert found.first_detected_s == 0
    assert found == play(background, forged, 30, seed=9)


PLAYED = Played(
    injected=10,
    detected=9,
    stolen=4,
    stolen_detected=2,
    first_detected_s=60.0,
    background=1000,
    background_flagged=1,
    converters=50,
    converters_flagged=1,
    crowd=20,
    crowd_accepted=20,
)


def test_runs_are_pooled_over_their_seeds() -> None:
    never = PLAYED._replace(detected=0, first_detected_s=None)
    found = pooled("x", 0.01, [PLAYED, never, PLAYED._replace(first_detected_s=20.0)])
    assert (found.injected, found.detected.value) == (30, 0.6)
    assert (found.stolen, found.stolen_detected.value) == (12, 0.5)
    assert (found.first_detected_s, found.undetected_seeds) == (40, 1)
    assert found.converters_flagged.value == pytest.approx(0.02)


def test_precision_is_that_of_the_prevalence() -> None:
    # One attack in a hundred, nine in ten found, one honest in a thousand flagged.
    assert precision(0.9, 0.001, 1 / 99) == pytest.approx(0.009 / (0.009 + 0.00099))
    assert precision(1.0, 0.0, 0.01) == 1
    assert precision(0.0, 0.0, 0.01) is None
    assert precision(None, 0.1, 0.01) is None


def test_the_page_tells_every_attack_and_what_gets_through() -> None:
    from bench.fraud.measure import Evasion, Quiet

    from headwater.ops.evaluate_statistics import wilson

    quiet = Quiet(wilson(1, 100), wilson(0, 10), wilson(95, 100), 100)
    result = Result(
        background="generated",
        clicks=1000,
        seeds=1,
        seconds=2.0,
        pooled=[pooled(attack.name, 0.01, [PLAYED]) for attack in ATTACKS],
        evasions=[Evasion(attack.name, 2, 0.1, "slowly") for attack in ATTACKS],
        quiet=quiet,
        attacks=ATTACKS,
    )
    text = page([result])
    for attack in ATTACKS:
        assert text.count(f"| {attack.name} |") == 2
        assert attack.what in text
    assert "Known to get through" in text
    assert "50.00%" in text
    assert result.told()["attacks"][0]["detected"]["value"] == 0.9


def test_a_flood_is_scored_again_in_steps_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    cost.flood(1500)
    # The first 256 with the click that shows it.
    assert re.search(r"^scored again +1244, in 100 ticks$", capsys.readouterr().out, re.MULTILINE)


def test_the_cost_of_a_click_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    cost.each_click(300)
    assert re.search(r"^scoring adds +\S+ us$", capsys.readouterr().out, re.MULTILINE)


def test_what_is_kept_of_a_live_click_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    cost.each_live_click(300)
    told = capsys.readouterr().out
    live = re.search(r"^clicks live, of 30 days +(\d+)$", told, re.MULTILINE)
    assert live
    assert int(live[1]) >= 300
    assert re.search(r"^with the state of scoring +\d+ bytes$", told, re.MULTILINE)


def test_a_bench_over_processes_gives_what_one_run_gives() -> None:
    said: list[str] = []
    background, crowd = generate(1, 2000), generate(1, 600, CROWD)
    wanted = [attack for attack in ATTACKS if attack.name in {"image click", "replay"}]
    bench = Bench([background], crowd, wanted, (0.01,), 0.01, None, said.append)
    found, evasions, quiet = bench.measure()
    assert [each.attack for each in found] == [attack.name for attack in wanted]
    for number, each in enumerate(found):
        alone = play(background, wanted[number], 20, seed=1000)
        assert (each.injected, each.stolen) == (alone.injected, alone.stolen)
        assert each.detected.value == alone.recall
    assert [each.attack for each in evasions] == [attack.name for attack in wanted]
    assert quiet.crowd_clicks == len(crowd.crowd)
    assert len(said) == 4
