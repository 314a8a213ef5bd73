"""One part away, or two: who is still answered, and with what."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.ops.demo_traffic import Scene
from system_tools import Answer, System, ValkeyServer, load, valkey, wait_for

SALE = {"program": "demo", "event": "sale", "amount": "10.00", "currency": "EUR"}


@contextlib.contextmanager
def system_on(server: ValkeyServer, tmp_path: Path) -> Iterator[System]:
    system = System(tmp_path, environment={"HEADWATER_REDIS_URL": server.url})
    with system:
        yield system


@contextlib.contextmanager
def ledger_locked(system: System) -> Iterator[None]:
    """Another process' write transaction, held: nothing can be committed."""
    path = system.settings.data / "ledger.sqlite"
    connection = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    try:
        # The matcher's next call has to stall before its heartbeat says so.
        time.sleep(4.0)
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def reported(system: System, scene: Scene, status: int) -> Answer:
    """The answer to an order, once it is answered like this: who is away and who is there is
    known by heartbeats, which come late where the machine is busy.
    """
    sale = {**SALE, "order_id": "A", "customer_id": "c"}
    found: list[Answer] = []

    def is_so() -> bool:
        found[:] = [system.edge("POST", "/v1/conversions", sale, scene.key)]
        return found[0].status == status

    wait_for(is_so, 60, f"a conversion is answered {status}")
    return found[0]


def test_only_redis_down_conversions_are_taken_and_decided_later(tmp_path: Path) -> None:
    with valkey(tmp_path) as server, system_on(server, tmp_path) as system:
        scene = system.program()
        server.kill()
        time.sleep(0.5)
        assert system.edge("GET", f"/c/{scene.codes[0]}").status == 302
        answer = reported(system, scene, 202)
        location = answer.headers["Location"]
        server.start()
        wait_for(
            lambda: system.edge("GET", location, key=scene.key).status == 200,
            60,
            "the decision is there when Redis is back",
        )


def test_only_the_ledger_down_conversions_are_taken(tmp_path: Path) -> None:
    with System(tmp_path) as system:
        scene = system.program()
        with ledger_locked(system):
            assert system.edge("GET", f"/c/{scene.codes[0]}").status == 302
            answer = reported(system, scene, 202)
        location = answer.headers["Location"]
        wait_for(
            lambda: system.edge("GET", location, key=scene.key).status == 200, 60, "it is decided"
        )


def test_both_down_redirects_go_on_and_conversions_are_sent_away(tmp_path: Path) -> None:
    with valkey(tmp_path) as server, system_on(server, tmp_path) as system:
        scene = system.program()
        with ledger_locked(system):
            server.kill()
            time.sleep(0.5)
            assert system.edge("GET", f"/c/{scene.codes[0]}").status == 302
            answer = reported(system, scene, 503)
            assert int(answer.headers["Retry-After"]) > 0


def test_an_edge_starts_and_redirects_with_everything_else_down(tmp_path: Path) -> None:
    """The links are in a local file: a cold start needs neither Redis nor ledger nor console."""
    with valkey(tmp_path) as server, system_on(server, tmp_path) as system:
        scene = system.program()
        config_file = system.settings.data / "edge"
        wait_for(lambda: any(config_file.glob("*")), 60, "the edge has kept its links")
        time.sleep(1.5)
        server.kill()
        for pid in [*system.pids("headwater matcher"), *system.pids("headwater console")]:
            os.kill(pid, signal.SIGSTOP)
        before = system.pids("headwater edge")
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_for(
            lambda: len(set(system.pids("headwater edge")) - set(before)) == 2, 60, "new edges"
        )

        def redirects() -> bool:
            with contextlib.suppress(OSError):
                return system.edge("GET", f"/c/{scene.codes[0]}").status == 302
            return False

        wait_for(redirects, 60, "a redirect by an edge that never saw Redis")


def test_flushall_is_noticed_said_and_nothing_is_lost(tmp_path: Path) -> None:
    with valkey(tmp_path) as server, system_on(server, tmp_path) as system:
        scene = system.program()
        with load(scene, clicks=1_000_000, rate=500, seed=3) as traffic:
            for _ in range(3):
                time.sleep(1.0)
                flush(server)
            time.sleep(2.0)
        system.wait_committed(traffic.tally.answered)
        assert system.faults(traffic.tally) == []
        assert len(system.events("redis generation changed")) >= 3


def flush(server: ValkeyServer) -> None:
    import redis

    with contextlib.closing(redis.Redis.from_url(server.url)) as client:
        client.flushall()


def test_an_older_aof_restored_is_noticed_and_nothing_is_lost(tmp_path: Path) -> None:
    with valkey(tmp_path) as server, system_on(server, tmp_path) as system:
        scene = system.program()
        kept = tmp_path / "kept"
        with load(scene, clicks=1_000_000, rate=500, seed=4) as traffic:
            time.sleep(1.0)
            shutil.copytree(server.folder / "appendonlydir", kept)
            time.sleep(1.0)
            server.kill()
            shutil.rmtree(server.folder / "appendonlydir")
            shutil.copytree(kept, server.folder / "appendonlydir")
            server.start()
            time.sleep(2.0)
        system.wait_committed(traffic.tally.answered)
        assert system.faults(traffic.tally) == []
        assert system.events("redis generation changed")


def test_a_server_whose_clock_is_behind_still_gives_ids_that_are_read(tmp_path: Path) -> None:
    """The log is an hour ahead of the server's clock, and then gone: ids go on above it."""
    import redis

    with valkey(tmp_path) as server, system_on(server, tmp_path) as system:
        scene = system.program()
        partition = int(scene_partition(system))
        ahead_ms = int(time.time() * 1000) + 3_600_000
        with load(scene, clicks=1_000_000, rate=500, seed=7) as traffic:
            time.sleep(1.0)
            with contextlib.closing(redis.Redis.from_url(server.url)) as client:
                client.xadd(f"hw:in:{partition}", {"f": b"from the future"}, id=f"{ahead_ms}-0")
            time.sleep(1.0)
            flush(server)
            time.sleep(2.0)
        system.wait_committed(traffic.tally.answered)
        assert system.faults(traffic.tally) == []
        with contextlib.closing(
            sqlite3.connect(system.settings.data / "ledger.sqlite")
        ) as connection:
            row = connection.execute(
                "SELECT stream_ms, stream_seq FROM partitions WHERE partition = ?", (partition,)
            ).fetchone()
        assert row[0] == ahead_ms, "time stands until the server's clock has caught up"
        assert row[1] > 1


def scene_partition(system: System) -> int:
    with contextlib.closing(sqlite3.connect(system.settings.data / "ledger.sqlite")) as connection:
        return int(connection.execute("SELECT partition FROM brands").fetchone()[0])


def test_a_stopped_matcher_is_fenced_and_its_files_are_not_used(tmp_path: Path) -> None:
    """Stopped past its lease, another takes over; continued, the first finds it out and ends.

    On a slow disk the other's commits may hold SQLite's writer lock for longer than the first one
    waits for it: then it ends by that, which keeps the same promise.
    """
    with System(tmp_path, environment={"HEADWATER_LEASE_MS": "1000"}) as system:
        scene = system.program()
        with load(scene, clicks=1_000_000, rate=300, seed=5) as traffic:
            time.sleep(1.0)
            (stopped,) = system.pids("headwater matcher")
            stop_between_transactions(stopped, system.settings.data / "ledger.sqlite")
            second = second_matcher(system)
            try:
                answered = traffic.tally.answered
                system.wait_committed(answered)
                os.kill(stopped, signal.SIGCONT)
                wait_for(
                    lambda: system.events("fenced") or system.events("ledger failed"),
                    90,
                    "the first one ends",
                )
                time.sleep(1.0)
            finally:
                second.terminate()
                second.wait(60)
        system.wait_committed(traffic.tally.answered)
        assert system.faults(traffic.tally) == []
        assert verify(system) == 0


def stop_between_transactions(pid: int, ledger: Path) -> None:
    """SIGSTOP, at a moment when the process does not hold SQLite's one writer lock."""
    for _ in range(100):
        os.kill(pid, signal.SIGSTOP)
        with contextlib.closing(
            sqlite3.connect(ledger, isolation_level=None, timeout=0.2)
        ) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                os.kill(pid, signal.SIGCONT)
                time.sleep(0.01)
            else:
                connection.execute("ROLLBACK")
                return
    raise AssertionError("it was never between two transactions")


def second_matcher(system: System):  # type: ignore[no-untyped-def]
    import subprocess
    import sys

    from headwater.ops.supervisor import environment_of

    environment = {**os.environ, **environment_of(system.settings), "HEADWATER_LEASE_MS": "1000"}
    with system.log_path.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "headwater", "matcher"], env=environment, stderr=log
        )


def verify(system: System) -> int:
    from headwater.ops.verify import run_verify

    return run_verify(system.settings)


def test_a_poison_frame_is_set_aside_and_the_replay_honors_it(tmp_path: Path) -> None:
    """A frame that ends the engine twice is quarantined; what comes after it is matched."""
    import redis

    from headwater import _core, ids
    from headwater.model.records import (
        NO_CLIENT,
        ClickBody,
        Kind,
        Record,
        Source,
        Trust,
        encode,
    )

    poison = ids.event_id(int(time.time() * 1000))
    environment = {"HEADWATER_FAULT_PANIC": poison.hex()}
    with valkey(tmp_path) as server:
        environment["HEADWATER_REDIS_URL"] = server.url
        with System(tmp_path, environment=environment) as system:
            scene = system.program()
            body = ClickBody(1, 1, 1, 0, (), {}, NO_CLIENT)
            record = Record(
                Kind.CLICK, poison, 1, int(time.time() * 1000), None, Trust.SERVER, Source.S2S, body
            )
            frame = _core.encode_frame(1, ids.producer_id(), 1, [encode(record)])
            with contextlib.closing(redis.Redis.from_url(server.url)) as client:
                client.xadd("hw:in:1", {"f": frame})
                client.xadd("hw:in:1", {"f": b"not a frame at all"})
            wait_for(lambda: len(system.events("engine panicked")) >= 2, 60, "it panicked twice")
            with load(scene, clicks=500, rate=0, seed=6) as traffic:
                wait_for(lambda: traffic.tally.answered >= 500, 60, "load")
            system.wait_committed(traffic.tally.answered)
            assert system.faults(traffic.tally) == []
            assert verify(system) == 0
            assert 'headwater_frames_quarantined_total{reason="malformed"} 1' in (
                system.console.text("/metrics")
            )


def test_an_unsafe_redis_is_refused_with_what_mends_it(tmp_path: Path) -> None:
    server = ValkeyServer(tmp_path, options=("--appendfsync", "everysec"))
    server.start()
    try:
        system = System(tmp_path, environment={"HEADWATER_REDIS_URL": server.url})
        with pytest.raises(AssertionError, match="CONFIG SET appendfsync always"):
            system.start()
        system.kill()
        system.start("--allow-unsafe-redis")
        assert b"unsafe" in system.edge("GET", "/readyz").body
        system.kill()
    finally:
        server.kill()


def test_configuration_cannot_split(tmp_path: Path) -> None:
    """The console is killed at random while objects are made; each that was stored arrives once,
    and every link it answered for redirects.
    """
    with System(tmp_path) as system:
        scene = system.program()
        stop = threading.Event()
        codes: list[str] = []

        def make_links() -> None:
            from headwater.errors import HeadwaterError

            number = 0
            while not stop.is_set():
                number += 1
                with contextlib.suppress(HeadwaterError):
                    link = system.console.post(
                        "/v1/links",
                        {"program_id": "prg_1", "partner_id": "prt_1", "code": f"made-{number}"},
                    )
                    codes.append(link["code"])

        maker = threading.Thread(target=make_links)
        maker.start()
        for _ in range(3):
            time.sleep(1.0)
            wait_for(lambda: system.pids("headwater console"), 60, "console runs")
            os.kill(system.pids("headwater console")[0], signal.SIGKILL)
        time.sleep(3.0)
        wait_for(lambda: len(codes) > 10, 60, "links were made")
        stop.set()
        maker.join()
        for code in codes:
            assert system.edge("HEAD", f"/c/{code}").status == 302
        links = system.links_when_committed()
        for code in links:
            assert system.edge("HEAD", f"/c/{code}").status == 302
        assert {scene.codes[0], *codes} <= links
