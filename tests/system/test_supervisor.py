"""`headwater up`: starting, restarting, stopping, and refusing to start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headwater import limits
from headwater.errors import HeadwaterError
from headwater.ops.supervisor import Errand, require_short
from system_tools import System, alive, free_port, wait_for


def test_ctrl_c_ends_it_in_order_and_exits_0(tmp_path: Path) -> None:
    """The terminal's SIGINT goes to the whole group: it must not reach the server first."""
    system = System(tmp_path)
    command = [sys.executable, "-m", "headwater", "up", "--data", str(system.settings.data)]
    command += ["--port", str(system.settings.port)]
    command += ["--console-port", str(system.settings.console_port)]
    with system.log_path.open("ab") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ready ")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 0
    assert not system.events("role died")


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with System(tmp_path) as system:
        assert system.process is not None
        children = system.pids()
        for child in children:
            os.kill(child, signal.SIGSTOP)
        system.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert system.process.poll() is None
        system.process.send_signal(signal.SIGTERM)
        system.process.wait(60)
        wait_for(lambda: not any(map(alive, children)), 60, "no child is left")


def test_a_role_that_dies_is_started_again_and_the_log_says_why(tmp_path: Path) -> None:
    with System(tmp_path) as system:
        (console,) = system.pids("headwater console")
        os.kill(console, signal.SIGKILL)
        wait_for(lambda: system.events("role died"), 60, "it is noticed")
        (entry,) = system.events("role died")
        assert entry["name"] == "console"
        assert entry["why"] == "killed by SIGKILL"
        wait_for(lambda: system.pids("headwater console"), 60, "it is back")


def refused(system: System, *options: str) -> str:
    command = [sys.executable, "-m", "headwater", "up", "--data", str(system.settings.data)]
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode != 0
    return done.stderr


def test_one_system_a_folder(tmp_path: Path) -> None:
    with System(tmp_path) as system:
        assert "another system runs on" in refused(system, "--port", str(free_port()))


def test_a_taken_port_is_said_at_once(tmp_path: Path) -> None:
    system = System(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port}" in refused(system, "--port", str(port))


def test_the_admin_key_is_private_and_survives_a_restart(tmp_path: Path) -> None:
    system = System(tmp_path)
    keys = []
    for _ in range(2):
        system.start()
        path = system.settings.data / "admin.key"
        assert path.stat().st_mode & 0o777 == 0o600
        keys.append(path.read_text())
        system.stop()
    assert keys[0] == keys[1]
    assert keys[0].strip() not in system.log()


def test_a_folder_too_deep_for_a_socket_is_refused(tmp_path: Path) -> None:
    longest = Path("/" + "d" * (limits.SOCKET_PATH_BYTES_MAX - 1))
    require_short(longest)
    with pytest.raises(HeadwaterError, match="108 bytes"):
        require_short(Path(f"{longest}d"))
    system = System(tmp_path / ("deep" * 25))
    system.settings.data.parent.mkdir(parents=True)
    assert "choose a data folder nearer to the root" in refused(
        system, "--port", str(free_port()), "--console-port", str(free_port())
    )


def test_an_errand_is_run_once_in_a_while_and_not_before_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ERASURE_LOOK_MIN_MS", 0)
    runs = tmp_path / "runs"
    line = f"import os; open({str(runs)!r}, 'a').write(f'{{os.getpriority(0, 0)}} ')"
    errand = Errand("test", [sys.executable, "-c", line], dict(os.environ))

    def run_until(times: int) -> bool:
        errand.watch()
        return runs.exists() and len(runs.read_text().split()) == times

    wait_for(lambda: run_until(1), 60, "it has run")
    for _ in range(100):
        assert run_until(1), "the next time is a day away"
    errand.stop()
    assert runs.read_text() == "19 "
    monkeypatch.setattr(limits, "ERASURE_LOOK_MS", 0)
    again = Errand("test", [sys.executable, "-c", f"{line}; raise SystemExit(1)"], dict(os.environ))

    def run_again() -> bool:
        again.watch()
        return len(runs.read_text().split()) >= 3

    wait_for(run_again, 60, "it is run again though it failed")
    again.stop()
