"""`headwater evaluate` on small files of each format: what it prints, and what it refuses."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from bench.fraud import click_log
from crawleruseragents import CRAWLER_USER_AGENTS_DATA
from typer.testing import CliRunner

from headwater import limits
from headwater.cli import app
from headwater.ops.demo_traffic import BROWSERS

CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
LIBRARY = "python-requests/2.32.3"


def run(path: Path, layout: str, *options: str) -> Any:
    """The JSON of a run that works."""
    asked = ["evaluate", str(path), "--format", layout, "--json", *options]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(path: Path, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["evaluate", str(path), *options])
    assert result.stdout == ""
    return result.exit_code, result.stderr


def agents_file(folder: Path, *agents: tuple[str, str], more: bytes = b"") -> Path:
    path = folder / "agents.jsonl"
    lines = [json.dumps({"ua": agent, "label": label}) for agent, label in agents]
    path.write_bytes("\n".join(lines).encode() + b"\n" + more)
    return path


def log_line(address: str, at_s: int, path: str, referrer: str, agent: str) -> str:
    time = f"{17 + at_s // 86_400:02d}/May/2015:{at_s // 3600 % 24:02d}:{at_s // 60 % 60:02d}"
    return (
        f'{address} - - [{time}:{at_s % 60:02d} +0000] "GET {path} HTTP/1.1" 200 5 '
        f'"{referrer}" "{agent}"'
    )


def log_file(folder: Path, *, is_shuffled: bool = False) -> Path:
    """Readers who come from pages, and crawlers that come from nowhere and take everything."""
    drawn = random.Random(5)
    lines = []
    for number in range(120):
        agent = drawn.choice(BROWSERS)
        at_s = drawn.randrange(80_000)
        for page in range(drawn.randrange(1, 4)):
            referrer = "https://blog.example/" if drawn.random() < 0.8 else "-"
            address = f"192.0.{number // 100}.{number % 100}"
            lines.append((at_s, log_line(address, at_s, f"/p/{page}", referrer, agent)))
            lines.append((at_s, log_line(address, at_s, "/style.css", "-", agent)))
            at_s += drawn.randrange(20, 900)
    for number in range(30):
        at_s = drawn.randrange(40_000)
        agent = CRAWLER if number % 2 else LIBRARY
        for page in range(drawn.randrange(2, 30)):
            lines.append((at_s, log_line(f"198.51.100.{number}", at_s, f"/p/{page}", "-", agent)))
            at_s += drawn.randrange(1, 300)
    lines.sort(key=lambda line: line[0])
    if is_shuffled:
        drawn.shuffle(lines)
    path = folder / ("shuffled.log" if is_shuffled else "access.log")
    path.write_text("\n".join(line for _, line in lines) + "\n", "utf-8")
    return path


@pytest.fixture(scope="module")
def clicks_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clicks") / "clicks.csv"
    click_log.write(path, click_log.generate(20_000, 5))
    return path


# ---- What is read --------------------------------------------------------------------------


def test_bad_lines_are_counted_and_stop_nothing(tmp_path: Path) -> None:
    more = b'nonsense\n{"ua": "x\xff\xfe", "label": "bot"}\n{"ua": 1}\n'
    path = agents_file(tmp_path, (BROWSERS[0], "browser"), (CRAWLER, "bot"), more=more)
    found = run(path, "user-agents")
    assert (found["format"], found["lines"], found["bad_lines"]) == ("user-agents", 3, 2)
    assert [bad["line"] for bad in found["first_bad_lines"]] == [3, 5]
    assert (found["bots"], found["browsers"]) == (2, 1)


@pytest.mark.parametrize("layout", ["user-agents", "combined", "talkingdata"])
def test_a_file_without_a_good_line_is_refused(tmp_path: Path, layout: str) -> None:
    path = tmp_path / "file"
    for content in (b"", b"nonsense\nmore of it\n", b"\x00\xff" * 500):
        path.write_bytes(content)
        code, says = refused(path, "--format", layout)
        assert code == 1
        assert "no line is" in says


def test_what_cannot_be_asked_is_refused(tmp_path: Path) -> None:
    path = agents_file(tmp_path, (CRAWLER, "bot"))
    code, says = refused(path, "--format", "csv", "--lists-before", "soon")
    assert code == 2
    assert "--format: one of user-agents, combined, talkingdata" in says
    assert "--lists-before: a day" in says
    code, says = refused(tmp_path / "none", "--format", "combined")
    assert code == 1
    assert "No such file" in says


def test_tables_are_printed_for_people(tmp_path: Path, clicks_file: Path) -> None:
    files = {
        "user-agents": agents_file(tmp_path, (BROWSERS[0], "browser"), (CRAWLER, "bot")),
        "combined": log_file(tmp_path),
        "talkingdata": clicks_file,
    }
    for layout, path in files.items():
        result = CliRunner().invoke(app, ["evaluate", str(path), "--format", layout])
        assert result.exit_code == 0, result.output
        assert path.name in result.stdout
        assert "lines used" in result.stdout
        assert "{" not in result.stdout


def test_a_click_log_out_of_order_is_sorted_first(
    tmp_path: Path, clicks_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, *rows = clicks_file.read_text("utf-8").splitlines()[:3001]
    path = tmp_path / "part.csv"
    path.write_text("\n".join([head, *rows]) + "\n", "utf-8")
    before = run(path, "talkingdata")
    random.Random(1).shuffle(rows)
    path.write_text("\n".join([head, *rows]) + "\n", "utf-8")
    monkeypatch.setattr(limits, "EVALUATED_SORT_LINES", 700)
    after = run(path, "talkingdata")
    assert after["clicks"] == before["clicks"] == 3000
    assert after["ctit_seconds"] == before["ctit_seconds"]
    assert after["conversions"] == before["conversions"]


# ---- What the engine makes of it -----------------------------------------------------------


def test_bots_are_found_and_browsers_are_not(tmp_path: Path) -> None:
    known = [
        (instance, "bot")
        for entry in CRAWLER_USER_AGENTS_DATA[::5]
        for instance in entry["instances"][:1]
    ]
    people = [(agent, "browser") for agent in BROWSERS] * 25
    found = run(agents_file(tmp_path, *known, *people), "user-agents")
    assert found["recall_hard"]["value"] > 0.99
    assert found["recall_any"]["value"] >= found["recall_hard"]["value"]
    assert found["fpr_hard"] == {"value": 0, "low": 0, "high": pytest.approx(0.037, abs=0.001)}
    assert found["fpr_any"]["value"] == 0
    assert found["codes"]["bot"]["GIVT_KNOWN_CRAWLER"] > 0
    assert found["bot_list"]["left_out"] == 0


def test_a_list_of_an_earlier_day_knows_less(tmp_path: Path) -> None:
    newest = [
        (instance, "bot")
        for entry in CRAWLER_USER_AGENTS_DATA
        if (entry.get("addition_date") or "") >= "2026"
        for instance in entry["instances"][:1]
    ][:200]
    path = agents_file(tmp_path, *newest)
    whole = run(path, "user-agents")
    held_out = run(path, "user-agents", "--lists-before", "2026-01-01")
    assert held_out["bot_list"]["left_out"] > 500
    assert held_out["recall_hard"]["value"] < whole["recall_hard"]["value"]
    # What looks like a bot is told without any list.
    assert held_out["recall_any"]["value"] > 0.85


def test_an_access_log_tells_crawlers_by_what_they_do(tmp_path: Path) -> None:
    found = run(log_file(tmp_path), "combined")
    assert (found["clients"], found["bots"], found["bots_ranked"]) == (150, 30, 30)
    assert found["bots_hard"] == 30
    assert found["auc"] > 0.8
    assert found["auc_interval"]["low"] < found["auc"] < found["auc_interval"]["high"]
    assert 0.8 < found["auc_ceiling"] <= 1


def test_an_access_log_out_of_order_is_sorted_first(tmp_path: Path) -> None:
    found = run(log_file(tmp_path), "combined")
    shuffled = run(log_file(tmp_path, is_shuffled=True), "combined")
    assert shuffled["auc"] == pytest.approx(found["auc"], abs=0.02)
    assert shuffled["clicks"] == found["clicks"]


def test_a_click_log_ranks_clicks_that_convert_below_others(clicks_file: Path) -> None:
    found = run(clicks_file, "talkingdata")
    assert found["label"] == "non-conversion AUC (not fraud recall)"
    assert (found["lines"], found["bad_lines"], found["clicks"]) == (20_000, 0, 20_000)
    assert found["ranked"]["after_share"] == 0.6
    assert found["auc_velocity"] > 0.6
    assert found["auc_source"] > found["auc_velocity"]
    seconds = list(found["ctit_seconds"].values())
    assert seconds == sorted(seconds)
    assert list(found["ctit_seconds"]) == ["p1", "p5", "p10", "p50", "p75", "p90", "max"]
