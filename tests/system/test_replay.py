"""An access log through the whole system, and the engine rebuilt from the archive alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.ledger.census import census
from headwater.ledger.engine import open_ledger
from headwater.ops.replay import parse_combined, run_replay
from headwater.ops.verify import run_verify
from system_tools import System

LINE = (
    '192.0.2.7 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 203023 '
    '"https://blog.example/" "Mozilla/5.0 (X11; Linux x86_64) \\"quoted\\" Firefox/141.0"'
)
REAL_LOG = Path(__file__).parents[3] / "shared" / "data" / "access-logs" / "apache_logs"


def test_a_combined_line_becomes_a_click() -> None:
    assert parse_combined(LINE) == {
        "ip": "192.0.2.7",
        "occurred_at": "2015-05-17T10:05:03.000Z",
        "user_agent": 'Mozilla/5.0 (X11; Linux x86_64) \\"quoted\\" Firefox/141.0',
        "referrer": "https://blog.example/",
    }


@pytest.mark.parametrize("line", ["", "nonsense", LINE.replace("May", "Foo"), "\0" * 100])
def test_a_line_of_another_form_is_no_click(line: str) -> None:
    assert parse_combined(line) is None


def synthetic_log(lines: int) -> str:
    return "\n".join(
        f"192.0.{n % 7}.{n % 251} - - [17/May/2015:{n // 3600 % 24:02d}:{n // 60 % 60:02d}:"
        f'{n % 60:02d} +0000] "GET /page/{n} HTTP/1.1" 200 {n} "-" "Mozilla/5.0 (visitor {n % 90})"'
        for n in range(lines)
    )


@pytest.mark.parametrize("keep_time", [False, True])
def test_every_line_is_committed_and_the_archive_gives_the_same_engine(
    tmp_path: Path, keep_time: bool
) -> None:
    file = tmp_path / "access.log"
    lines = 10_000 if REAL_LOG.is_file() else 2000
    file.write_bytes(REAL_LOG.read_bytes() if REAL_LOG.is_file() else synthetic_log(lines).encode())
    system = System(tmp_path, environment={"HEADWATER_SNAPSHOT_EVERY_MS": "300"})
    system.start()
    try:
        scene = system.program()
        code = run_replay(
            system.settings, file, program=scene.program, url=None, keep_time=keep_time
        )
        assert code == 0
        system.wait_committed(lines)
        assert system.stop() == 0
    finally:
        system.kill()
    ledger = open_ledger(system.settings.effective_ledger_url)
    try:
        verdicts = census(ledger).clicks_by_verdict
        assert sum(verdicts.values()) == lines
        # A log of pages and their parts has crawlers and bursts in it; none of that is proof.
        assert set(verdicts) <= {"accept", "review", "filtered"}
        if REAL_LOG.is_file():
            assert len(verdicts) == 3
    finally:
        ledger.close()
    assert run_verify(system.settings) == 0


def test_a_changed_byte_of_the_archive_is_found(tmp_path: Path) -> None:
    system = System(tmp_path)
    system.start()
    try:
        scene = system.program()
        for _ in range(20):
            assert system.edge("GET", f"/c/{scene.codes[0]}").status == 302
        system.wait_committed(20)
        assert system.stop() == 0
    finally:
        system.kill()
    assert run_verify(system.settings) == 0
    segment = max(
        (system.settings.data / "archive").rglob("*.archive"), key=lambda path: path.stat().st_size
    )
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    assert run_verify(system.settings) == 1
