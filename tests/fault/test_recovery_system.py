"""Real processes: what is told, kept or put back when a part dies or loses what it held."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
import redis

from headwater.errors import HeadwaterError
from headwater.ops.supervisor import environment_of
from headwater.ops.verify import run_verify
from system_tools import System, ValkeyServer, load, valkey, wait_for

SEED = 20_260_102
MANY = 1_000_000
SALE = {"program": "demo", "event": "sale", "amount": "10.00", "currency": "EUR"}


@contextlib.contextmanager
def store_of(url: str) -> Iterator[redis.Redis]:
    with contextlib.closing(redis.Redis.from_url(url, protocol=2)) as client:
        yield client


def system_on(server: ValkeyServer, tmp_path: Path) -> System:
    return System(tmp_path, environment={"HEADWATER_REDIS_URL": server.url})


def test_a_commit_whose_answer_is_lost_is_not_applied_twice(tmp_path: Path) -> None:
    """Every life of the matcher ends after a COMMIT that it never hears of."""
    with System(tmp_path, environment={"HEADWATER_FAULT": "commit.after:12"}) as system:
        scene = system.program()
        with load(scene, clicks=MANY, rate=400, seed=SEED) as traffic:
            wait_for(lambda: len(system.events("role died")) >= 3, 60, "the matcher died at work")
        system.wait_committed(traffic.tally.answered)
        assert system.faults(traffic.tally) == []
        assert run_verify(system.settings) == 0


def redirects(system: System, code: str) -> bool:
    return system.edge("HEAD", f"/c/{code}").status == 302


@pytest.mark.parametrize("site", ["publish.begun", "publish.appended", "publish.told"])
def test_a_console_killed_while_it_publishes_splits_nothing(tmp_path: Path, site: str) -> None:
    """Whoever was answered keeps the link; what was stored arrives, and is committed, once."""
    with System(tmp_path, environment={"HEADWATER_FAULT": f"{site}:14"}) as system:
        scene = system.program(partners=1)
        codes = []
        for number in range(25):
            made = {"program_id": "prg_1", "partner_id": "prt_1", "code": f"made-{number}"}
            try:
                codes.append(system.console.post("/v1/links", made)["code"])
            except HeadwaterError:
                wait_for(lambda: console_answers(system), 60, "the console is back")
            for code in (scene.codes[0], *codes[-3:]):
                served = functools.partial(redirects, system, code)
                wait_for(served, 60, "the edges serve what was answered")
        assert system.events("role died")
        assert len(codes) > 5
        links = system.links_when_committed()
        for code in links:
            assert system.edge("HEAD", f"/c/{code}").status == 302
        assert set(codes) <= links
        assert run_verify(system.settings) == 0


def console_answers(system: System) -> bool:
    with contextlib.suppress(HeadwaterError, OSError):
        return bool(system.console.get("/v1/programs"))
    return False


def test_an_edge_hears_of_its_last_frames_though_nobody_told_it(tmp_path: Path) -> None:
    """The matcher dies between commit and telling, and the edge sends nothing more."""
    with valkey(tmp_path) as server, system_on(server, tmp_path) as system:
        scene = system.program()
        # By then the edges know the log's generation, and have no reason to send anything again.
        time.sleep(2.5)
        (matcher,) = system.pids("headwater matcher")
        os.kill(matcher, signal.SIGSTOP)
        codes = [system.edge("GET", f"/c/{scene.codes[0]}").status for _ in range(20)]
        assert codes == [302] * 20
        edges = system.pids("headwater edge")
        for edge in edges:
            os.kill(edge, signal.SIGSTOP)
        os.kill(matcher, signal.SIGCONT)
        system.wait_committed(20)
        with store_of(server.url) as store:
            time.sleep(0.5)
            os.kill(matcher, signal.SIGKILL)
            store.delete(*store.keys("hw:committed:*"))
        spool = system.settings.data / "spool"
        assert list(spool.glob("*/*.spool"))
        for edge in edges:
            os.kill(edge, signal.SIGCONT)
        wait_for(lambda: not list(spool.glob("*/*.spool")), 60, "the spool files are deleted")


def is_full(store: redis.Redis) -> bool:
    try:
        store.set("full", b"x")
    except redis.OutOfMemoryError:
        return True
    return False


def test_a_full_redis_is_emptied_by_the_matcher(tmp_path: Path) -> None:
    """Refused are ticks, ranges and decisions too; trimming is not, and comes first."""
    environment = {"HEADWATER_PARTITIONS": "32"}
    with valkey(tmp_path) as server:
        environment["HEADWATER_REDIS_URL"] = server.url
        with System(tmp_path, environment=environment) as system, store_of(server.url) as store:
            scene = system.program()
            (matcher,) = system.pids("headwater matcher")
            os.kill(matcher, signal.SIGSTOP)
            used = int(store.info("memory")["used_memory"])  # type: ignore[index]
            store.config_set("maxmemory", used + 200_000)
            with load(scene, clicks=MANY, rate=600, seed=SEED) as traffic:
                wait_for(lambda: is_full(store), 60, "Redis is full")
                os.kill(matcher, signal.SIGCONT)
                time.sleep(3.0)
            system.wait_committed(traffic.tally.answered)
            assert system.faults(traffic.tally) == []
            wait_for(lambda: store.get("hw:matcher") is not None, 60, "there is room again")


def test_a_poison_frame_is_told_to_be_settled(tmp_path: Path) -> None:
    from headwater import _core, ids
    from headwater.model.records import NO_CLIENT, ClickBody, Kind, Record, Source, Trust, encode

    now_ms = int(time.time() * 1000)
    poison, producer = ids.event_id(now_ms), ids.producer_id()
    environment = {"HEADWATER_FAULT_PANIC": poison.hex()}
    body = ClickBody(1, 1, 1, 0, (), {}, NO_CLIENT)
    record = Record(Kind.CLICK, poison, 1, now_ms, None, Trust.SERVER, Source.S2S, body)
    frame = _core.encode_frame(1, producer, 1, [encode(record)])
    with valkey(tmp_path) as server, store_of(server.url) as store:
        environment["HEADWATER_REDIS_URL"] = server.url
        with System(tmp_path, environment=environment) as system:
            store.xadd("hw:in:1", {"f": frame})
            name = f"{producer:016x}"
            wait_for(lambda: store.hget("hw:committed:1", name), 60, "its producer is told")
            assert len(system.events("engine panicked")) == 2
            # The log is lost and the frame comes again, under another id.
            store.flushall()
            wait_for(lambda: store.get("hw:generation"), 60, "a new generation")
            store.xadd("hw:in:1", {"f": frame})
            wait_for(lambda: store.hget("hw:committed:1", name), 60, "it is told again")
            assert len(system.events("engine panicked")) == 2
            assert run_verify(system.settings) == 0


def test_a_frame_of_a_newer_version_stops_the_matcher_and_loses_nothing(tmp_path: Path) -> None:
    with (
        valkey(tmp_path) as server,
        store_of(server.url) as store,
        system_on(server, tmp_path) as system,
    ):
        scene = system.program()
        with load(scene, clicks=MANY, rate=300, seed=SEED) as traffic:
            time.sleep(0.5)
            newer = store.xadd("hw:in:0", {"f": b"HWF\x09" + bytes(60)})
            wait_for(lambda: system.events("matcher stopped"), 60, "it stops and says so")
            assert "version" in str(system.events("matcher stopped")[0])
            store.xdel("hw:in:0", newer)
            time.sleep(1.0)
        system.wait_committed(traffic.tally.answered)
        assert system.faults(traffic.tally) == []


def test_a_decision_that_redis_forgot_is_answered_from_the_ledger(tmp_path: Path) -> None:
    with (
        valkey(tmp_path) as server,
        store_of(server.url) as store,
        system_on(server, tmp_path) as system,
    ):
        scene = system.program()
        sale = {**SALE, "order_id": "A", "customer_id": "c"}
        path = f"/v1/conversions/{system.convert(sale, scene.key)['conversion_id']}"
        store.delete(*store.keys("hw:decision:*"))
        assert system.edge("GET", path, key=scene.key).status == 200
        store.flushall()
        wait_for(lambda: system.edge("GET", path, key=scene.key).status == 200, 60, "after a loss")


def test_a_first_start_killed_at_any_moment_can_be_started_again(tmp_path: Path) -> None:
    """In the middle of making the ledger, too: that is one transaction."""
    random = Random(SEED)
    system = System(tmp_path)
    environment = {**os.environ, **environment_of(system.settings)}
    for number in range(6):
        with system.log_path.open("ab") as log:
            starting = subprocess.Popen(
                [sys.executable, "-m", "headwater", "up"], env=environment, stderr=log, stdout=log
            )
        time.sleep(random.uniform(0.2, 0.5 + number / 4))
        starting.kill()
        starting.wait()
    with system:
        scene = system.program()
        assert system.edge("GET", f"/c/{scene.codes[0]}").status == 302
