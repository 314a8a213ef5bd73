"""The load generator against servers that answer, stall, hang up and are not there."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from bench.load import processes, requests
from bench.load.drive import Generator, GeneratorBoundError, Plan, Stage

ANSWER = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /?click_id=clk_%026d\r\n\r\n"


@pytest.fixture(scope="module")
def generator() -> Generator:
    if shutil.which("cargo") is None:
        pytest.skip("the generator is built with cargo, which is not here")
    return Generator(processes.cores()[1])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[requests.Mode, Path]:
    folder = tmp_path_factory.mktemp("requests")
    modes: tuple[requests.Mode, ...] = ("keep-alive", "close")
    return {
        mode: requests.write(folder / mode, requests.heads(["a", "b"], "host", mode, 50, 1))
        for mode in modes
    }


Handler = Callable[[socket.socket, int], None]


@contextmanager
def serving(handle: Handler) -> Iterator[int]:
    """A thread for each connection; `handle` gets it with its number."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def run(connection: socket.socket, number: int) -> None:
        with connection, contextlib.suppress(OSError):
            handle(connection, number)

    def accept() -> None:
        for number in range(10_000):
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            threads.append(threading.Thread(target=run, args=(connection, number)))
            threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        # A close alone does not wake who waits in accept.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in (accepting, *threads):
            thread.join(60)


def answer_all(connection: socket.socket, number: int, stall_s: float = 0.0) -> None:
    """Answers every request; the first only after a while."""
    asked = b""
    count = 0
    while data := connection.recv(65_536):
        asked += data
        while b"\r\n\r\n" in asked:
            head, _, asked = asked.partition(b"\r\n\r\n")
            time.sleep(stall_s if count == 0 else 0.0)
            count += 1
            connection.sendall(ANSWER % (number * 1_000_000 + count))
            if b"Connection: close" in head:
                return


@pytest.mark.parametrize("mode", ["keep-alive", "close"])
def test_every_request_is_answered_and_every_id_is_kept(
    generator: Generator,
    files: dict[requests.Mode, Path],
    mode: requests.Mode,
    tmp_path: Path,
) -> None:
    with serving(answer_all) as port:
        plan = Plan(port, files[mode], [Stage(200, 0.3), Stage(400, 0.2)], mode=mode)
        plan = replace(plan, arrivals="constant", connections=8, ids=tmp_path / "ids")
        driven = generator.drive(plan)
    assert driven.failed == 0
    assert driven.told["scheduled"] == driven.answered
    assert driven.told["statuses"] == {"302": driven.answered}
    assert [stage["answered"] for stage in driven.told["stages"]] == pytest.approx([60, 80], abs=2)
    text = (tmp_path / "ids").read_text()
    found = {text[at : at + 30] for at in range(0, len(text), 30)}
    assert len(found) == driven.answered
    assert all(one.startswith("clk_") for one in found)


def test_a_stall_is_felt_by_all_who_came_meanwhile(
    generator: Generator, files: dict[requests.Mode, Path]
) -> None:
    """A closed loop would tell of one slow answer; of the fifty that were due in the half second
    in which the only connection was busy, those of the first half waited over 200 ms.
    """
    with serving(lambda connection, number: answer_all(connection, number, 0.5)) as port:
        plan = Plan(port, files["keep-alive"], [Stage(100, 1.0)], connections=1)
        driven = generator.drive(replace(plan, arrivals="constant"))
    stage = driven.told["stages"][0]
    assert stage["answered"] == stage["scheduled"]
    assert stage["over_ms"]["200"] >= 25
    assert driven.told["peak_queued"] >= 40


def test_hanging_up_is_a_failure_and_no_end(
    generator: Generator, files: dict[requests.Mode, Path]
) -> None:
    def hang_up(connection: socket.socket, number: int) -> None:
        if number % 2:
            answer_all(connection, number)
        connection.recv(65_536)

    with serving(hang_up) as port:
        plan = Plan(port, files["close"], [Stage(100, 0.4)], mode="close", connections=16)
        driven = generator.drive(replace(plan, arrivals="constant"))
    assert driven.answered + driven.failed == driven.told["scheduled"]
    assert driven.failed > 10
    assert driven.answered > 10


def test_an_answer_that_never_comes_is_a_failure(
    generator: Generator, files: dict[requests.Mode, Path]
) -> None:
    def listen_only(connection: socket.socket, _number: int) -> None:
        while connection.recv(65_536):
            pass

    with serving(listen_only) as port:
        plan = Plan(port, files["keep-alive"], [Stage(50, 0.2)], connections=2, grace_s=0.2)
        driven = generator.drive(plan)
    assert driven.answered == 0
    assert driven.failed == driven.told["scheduled"] > 0


def test_another_status_is_told_apart(
    generator: Generator, files: dict[requests.Mode, Path]
) -> None:
    with serving(answer_all) as port:
        plan = Plan(port, files["keep-alive"], [Stage(50, 0.2)], connections=2, status=200)
        driven = generator.drive(plan)
    assert driven.failed == driven.answered > 0


def test_where_nobody_listens_the_run_fails(
    generator: Generator, files: dict[requests.Mode, Path]
) -> None:
    plan = Plan(processes.free_port(), files["keep-alive"], [Stage(50, 0.2)])
    with pytest.raises(subprocess.CalledProcessError):
        generator.drive(plan)


def test_its_ceiling_is_measured_and_kept_to(files: dict[requests.Mode, Path]) -> None:
    if shutil.which("cargo") is None:
        pytest.skip("the generator is built with cargo, which is not here")
    generator = Generator(processes.cores()[1])
    generator.measure_ceilings(files, 0.2, processes.cores()[0])
    assert set(generator.ceilings) == {"keep-alive", "close"}
    ceiling = generator.ceilings["close"]
    assert generator.is_bound("close", ceiling * 0.81)
    assert not generator.is_bound("close", ceiling * 0.79)
    plan = Plan(processes.free_port(), files["close"], [Stage(ceiling * 0.81, 1)], mode="close")
    with pytest.raises(GeneratorBoundError, match="80%"):
        generator.drive(plan)
