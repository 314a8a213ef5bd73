"""What the benchmarks send, count and write."""

from __future__ import annotations

import asyncio
import re
import xml.etree.ElementTree as ET
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from random import Random
from statistics import mean
from typing import Any

import pytest
from bench.load import probe, requests, scenarios
from bench.load.drive import Generator
from bench.load.requests import Mode
from bench.load.stand import MODES, QUICK, Stand
from bench.micro import compare as micro
from bench.peers import install, nginx
from bench.peers.compare import OWN, Comparison, Sample
from bench.peers.servers import PROMISES
from bench.report import charts, figures, page, run, servers
from prometheus_client import REGISTRY

from headwater import limits, metrics
from headwater.config import Config
from headwater.edge import cookies
from headwater.edge.hot_links import HotLinks
from headwater.ops.demo_traffic import Scene, Traffic
from lane_tools import started

assert metrics, "its import fills the registry"

# ---- Requests ------------------------------------------------------------------------------


def test_heads_are_those_of_browsers_behind_a_proxy() -> None:
    codes = [f"code{number}" for number in range(100)]
    heads = list(requests.heads(codes, "127.0.0.1:80", "close", 1000, seed=1))
    assert 550 < mean(map(len, heads)) < 750
    assert len(set(heads)) == 1000
    text = b"".join(heads).decode()
    assert set(re.findall(r"GET /c/(\w+)\?", text)) == set(codes)
    assert text.count("\r\n\r\n") == text.count("Connection: close\r\n") == 1000
    assert 350 < text.count("hw_visitor=") < 650
    assert text.count(f"X-Forwarded-For: {requests.ADDRESS}\r\n") == 1000


def test_the_file_says_where_address_and_visitor_stand(tmp_path: Path) -> None:
    heads = list(requests.heads(["a"], "host", "keep-alive", 50, seed=1))
    rest = requests.write(tmp_path / "file", iter(heads)).read_bytes()
    returning = 0
    for head in heads:
        length, address, visitor = (int.from_bytes(rest[at : at + 2], "little") for at in (0, 2, 4))
        assert rest[6 : 6 + length] == head
        assert head[address:].startswith(requests.ADDRESS.encode())
        if visitor:
            assert cookies.read_known((head[visitor - 11 : visitor + 32].decode(),)) is not None
            returning += 1
        rest = rest[6 + length :]
    assert rest == b""
    assert 10 < returning < 40


def test_clicks_of_the_generator_and_of_the_demo_take_the_hot_lane(tmp_path: Path) -> None:
    """So benchmarks measure it, and tests that kill processes under the demo's load test it."""
    sent = [
        raw
        for mode in MODES
        for raw in requests.heads(["spring_1"], "127.0.0.1:80", mode, 100, seed=1)
    ]
    assert taken(tmp_path, sent) == len(sent)
    clicks = asyncio.run(clicks_of_the_demo(300))
    # Some of the demo's clicks have a target of their own or come from a crawler.
    assert taken(tmp_path, clicks) > len(clicks) * 0.85


def taken(folder: Path, sent: list[bytes]) -> int:
    """How many requests the hot lane takes."""
    with ExitStack() as stack:
        running = started(stack, folder, True, trusted_proxies=("127.0.0.0/8",))
        links = running.edge.table.watch.__self__  # type: ignore[attr-defined]
        assert isinstance(links, HotLinks)
        return sum(links.take(raw, "127.0.0.1") is not None for raw in sent)


async def clicks_of_the_demo(number: int) -> list[bytes]:
    sent = []

    class Session:
        async def once(self, raw: bytes) -> None:
            sent.append(raw)

    traffic = Traffic(Scene("127.0.0.1", 80, "p", "k", ("spring_1",)), clicks=1, rate=0, seed=1)
    for seed in range(number):
        await traffic._click(Session(), Random(seed))  # type: ignore[arg-type]
    return sent


# ---- Comparison ----------------------------------------------------------------------------


def sample(server: str, round_: int, cpu_us: float, **changes: Any) -> Sample:
    latency = dict.fromkeys(("p50", "p99", "p99_9"), 1000.0 * (round_ + 1))
    mode: Mode = "keep-alive"
    made = Sample(
        server=server,
        mode=mode,
        round=round_,
        rate=0,
        share=0,
        per_s=1e6 / cpu_us,
        failed=0,
        cpu_us={"edge": cpu_us * 0.75, "redis": cpu_us * 0.25},
        latency_us=latency,
        late_us=latency,
        is_generator_bound=False,
    )
    return made._replace(**changes)


@pytest.fixture
def compared() -> Comparison:
    found = Comparison()
    for round_, (own, other) in enumerate(((20.0, 10.0), (44.0, 11.0), (18.0, 12.0))):
        found.samples.append(sample(OWN, round_, own))
        found.samples.append(sample("nginx empty_gif", round_, other))
    return found


def test_ratios_are_taken_within_a_round(compared: Comparison) -> None:
    ratio = compared.ratio("keep-alive", "nginx empty_gif")
    assert ratio is not None
    assert tuple(ratio) == pytest.approx((2.0, 1.5, 4.0))
    assert compared.ratio("keep-alive", "aiohttp") is None
    assert compared.capacity(OWN, "keep-alive") == pytest.approx(50_000)
    assert compared.capacity(OWN, "close") == 0


def test_a_rate_that_the_generator_bounds_is_said_to_be_at_least(compared: Comparison) -> None:
    bound = sample("aiohttp", 0, 5.0, is_generator_bound=True)
    compared.samples.append(bound)
    text = page.markdown(servers.blocks(compared))
    assert "| at least 200,000 |" in text
    assert "| 50,000 |" in text
    assert "2.00 (1.50 – 4.00)" in text


def test_latencies_are_by_rising_rate(compared: Comparison) -> None:
    for round_ in range(2):
        for rate in (9000.0, 500.0):
            compared.samples.append(sample(OWN, round_, 20.0, rate=rate))
    rates = [(rate, len(found)) for rate, found in compared.at_rates(OWN, "keep-alive")]
    assert rates == [(500.0, 2), (9000.0, 2)]


def test_own_requests_that_failed_fail_the_run(compared: Comparison) -> None:
    assert run.faults({"peers": compared}) == []
    compared.samples.append(sample(OWN, 3, 20.0, failed=2))
    compared.samples.append(sample("aiohttp", 3, 20.0, failed=5))
    assert run.faults({"peers": compared}) == ["peers: 2 requests of headwater were not answered"]


def test_a_part_that_fails_fails_the_run_and_spares_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise TimeoutError("no answer")

    monkeypatch.setattr(run.scenarios, "burst", fail)
    monkeypatch.setattr(run.scenarios, "pixels", lambda _place: {"pixels": 1})
    place = Stand(
        tmp_path, QUICK, generator=Generator({0}, tmp_path), server_cores={0}, load_cores={0}
    )
    found = run.measured(place, ["burst", "pixels"])
    assert found == {"pixels": {"pixels": 1}}
    assert run.faults({}, place.unmeasured) == ["not measured: burst: TimeoutError: no answer"]


def test_what_there_is_no_time_for_is_left_out_and_said(tmp_path: Path) -> None:
    place = Stand(
        tmp_path, QUICK, generator=Generator({0}, tmp_path), server_cores={0}, load_cores={0}
    )
    place.began_s -= 175
    assert run.measured(place, ["burst"]) == {}
    assert place.notes == ["left out for want of time: burst"]
    assert place.unmeasured == []


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        ({}, True),
        ({"failed": 1}, False),
        ({"in_the_ledger_more_than_once": 1}, False),
        ({"answered_and_not_in_the_ledger": 1}, False),
        # What was redirected at the deadline was not promised.
        ({"answered_and_not_in_the_ledger": 1, "past_the_accept_deadline": 1}, True),
    ],
)
def test_what_counts_as_lost(changes: dict[str, int], holds: bool) -> None:
    told = dict.fromkeys(
        (
            *("failed", "in_the_ledger_more_than_once", "answered_and_not_in_the_ledger"),
            *("past_the_accept_deadline", "unaccepted_for_other_reasons"),
        ),
        0,
    )
    assert scenarios.is_whole({**told, **changes}) is holds


def test_percentiles_are_by_rank() -> None:
    found = probe.percentiles([float(number) for number in range(100)])
    assert found == {"p50_ms": 50.0, "p90_ms": 90.0, "p99_ms": 99.0, "max_ms": 99.0}


# ---- Figures -------------------------------------------------------------------------------


def test_a_figure_is_reached_from_its_bound_on() -> None:
    less, more = (goal for goal in figures.GOALS if goal.name in ("p99", "committed"))
    assert [less.verdict(value) for value in (5.01, 5, 2.01, 2)] == [
        *("**no**", "reached", "reached", "aim reached")
    ]
    assert [more.verdict(value) for value in (29_999, 30_000, 60_000)] == [
        *("**no**", "reached", "aim reached")
    ]


def test_what_was_not_measured_is_not_said_to_be_missed(compared: Comparison) -> None:
    found: dict[str, Any] = {
        "peers": compared,
        "pixels": {"rounds": [{"idle": {"p99_ms": at}, "loaded": {"p99_ms": 9}} for at in (1, 3)]},
    }
    table = page.markdown(figures.blocks(found))
    assert "Of 16 figures 3 were measured, 2 are reached, 1 are not." in table
    assert "keep-alive | 2.00 (1.50 – 4.00) | 1.6 | 1 | **no** | peers |" in table
    assert "idle, ms | 2.00 (1.00 – 3.00) | 5 | 2 | aim reached | pixels |" in table
    assert table.count(f"| {figures.NONE} | ") == 26


def test_each_figure_is_of_a_part_of_the_report() -> None:
    assert {goal.part for goal in figures.GOALS} <= set(run.PARTS)
    assert len({goal.name for goal in figures.GOALS}) == len(figures.GOALS)


# ---- Peers ---------------------------------------------------------------------------------


def test_a_peer_that_cannot_be_had_is_left_out_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install.shutil, "which", lambda _name: None)
    assert install.nginx() == "there is no apt-get here"
    assert install.nginx_lua() == "there is no apt-get here"


def test_nginx_stays_in_its_folder(tmp_path: Path) -> None:
    assert nginx.pixel(tmp_path, 4711)[:3] == ["nginx", "-p", str(tmp_path)]
    text = (tmp_path / "nginx.conf").read_text()
    assert "listen 127.0.0.1:4711 " in text
    assert "$" not in text
    places = re.findall(r"(?:pid|log|path) (\S+?)[; ]", text)
    assert places
    assert all(place.startswith(str(tmp_path)) for place in places)


def test_every_peer_has_its_promise_told() -> None:
    assert OWN in PROMISES
    assert {"nginx empty_gif", "aiohttp", "aiohttp + XADD"} <= PROMISES.keys()


# ---- Page ----------------------------------------------------------------------------------


def test_nothing_on_the_page_is_taken_for_markup() -> None:
    blocks: list[page.Block] = [
        page.Heading("<h> & `c`"),
        page.Listing(["<li>"]),
        page.Table(["a|b", "<th>"], [["<td>", "1"]]),
    ]
    text = page.html("<title>", blocks)
    for raw in ("<h>", "<li><li>", "<td><td>", "<title><"):
        assert raw not in text
    assert "<code>c</code>" in text
    assert "a\\|b" in page.markdown(blocks)


@pytest.mark.parametrize("is_log", [False, True])
def test_a_chart_is_well_formed_and_within_its_frame(is_log: bool) -> None:
    points = [(0.0, 0.0), (5.0, 0.02), (10.0, 1234.0)]
    svg = charts.lines(
        "<t>",
        [charts.Line("a & b", points), charts.Line("none", [])],
        x_says="x",
        y_says="y",
        is_log=is_log,
        marks=[charts.Mark(5, "<now>")],
    )
    root = ET.fromstring(svg)
    drawn = [element for element in root if element.tag.endswith("polyline")]
    assert len(drawn) == 1
    for pair in drawn[0].attrib["points"].split():
        x, y = map(float, pair.split(","))
        assert 0 <= x <= float(root.attrib["width"])
        assert 0 <= y <= float(root.attrib["height"])


def test_bars_stack_to_their_sum() -> None:
    rows = [charts.Bar("one", [("edge", 3.0), ("redis", 1.0)]), charts.Bar("two", [("edge", 8.0)])]
    root = ET.fromstring(charts.bars("t", rows, "us"))
    widths = [float(e.attrib["width"]) for e in root if len(e) and e.tag.endswith("rect")]
    assert widths[0] / widths[1] == pytest.approx(3.0, rel=0.01)
    assert sum(widths[:2]) == pytest.approx(widths[2] / 2, rel=0.01)


def test_a_chart_of_nothing_is_no_chart() -> None:
    assert charts.bars("t", [], "us") == ""
    assert charts.lines("t", [charts.Line("a", [])], x_says="", y_says="") == ""
    assert page.markdown([page.Chart("name", "says", "")]).strip() == ""


# ---- Baselines -----------------------------------------------------------------------------


def result(**shortest: float) -> dict[str, Any]:
    return {
        "benchmarks": [{"name": name, "stats": {"min": value}} for name, value in shortest.items()]
    }


def test_a_machine_twice_as_slow_changes_no_ratio() -> None:
    before = micro.ratios(result(test_yardstick=2.0, test_a=1.0, test_b=4.0))
    assert before == {"test_a": 0.5, "test_b": 2.0}
    now = micro.ratios(result(test_yardstick=4.0, test_a=2.0, test_b=8.0))
    assert list(micro.slower(now, before, 1.5)) == []


def test_a_function_that_grew_slower_is_named() -> None:
    before = {"test_a": 0.5, "test_b": 2.0, "test_gone": 1.0}
    now = {"test_a": 0.76, "test_b": 2.9, "test_new": 1.0}
    assert list(micro.slower(now, before, 1.5)) == [
        "test_a: 1.52 times its baseline",
        "test_gone: a baseline without a benchmark",
        "test_new: no baseline; store one with --store",
    ]


# ---- Tuning guide --------------------------------------------------------------------------


def test_the_tuning_guide_names_what_there_is() -> None:
    text = (Path(__file__).parents[2] / "docs" / "tuning.md").read_text()
    known = {metric.name for one in REGISTRY.collect() for metric in one.samples}
    known |= {one.name for one in REGISTRY.collect()}
    found = set(re.findall(r"headwater_\w+", text))
    assert found
    assert {name.removesuffix("_total") for name in found} <= known
    settings = {item.name for item in fields(Config)}
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)*_(?:ms|bytes|max|url))`", text))
    assert named
    assert (named - {"headwater_spool_bytes"}) | {"edges", "partitions"} <= settings
    stage = str(limits.ACCEPT_DEADLINE_MS)
    assert f"`accept_deadline_ms` ({stage})" in text
    assert f"within {limits.REDIS_ANSWER_MS} ms" in text
