"""Each server of the comparison: how it is started, which processes serve, what it promises."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import redis
from bench.load import processes
from bench.peers import install, nginx

from headwater import clock
from headwater.config import Config
from headwater.journal import redis_server

_START_S = 20.0
STREAM: Final = "clicks"

PROMISES: Final = {
    "headwater": "the redirect, a link looked up among 10,000, the visitor known again by the "
    "cookie, the click with all that scoring needs in Redis (appendfsync always) and in a file",
    "nginx empty_gif": "a static pixel and a line in a log that is written in blocks: what is in "
    "the block is lost with the process. No lookup, nothing that can be matched",
    "nginx + Lua, always": "one XADD a click, answered by Redis with appendfsync always; no lookup",
    "nginx + Lua, everysec": "the same with appendfsync everysec: a second of clicks is lost with "
    "the machine",
    "aiohttp": "a redirect; nothing is recorded",
    "aiohttp + XADD": "one XADD a click by redis-py, appendfsync always; no lookup",
}


@dataclass(frozen=True)
class Peer:
    """A server that runs."""

    name: str
    port: int
    status: int
    pids: Callable[[], processes.Pids]
    forget: Callable[[], None] = lambda: None
    """Drops what it recorded, between two measurements."""


def _is_open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
        return True
    return False


def _wait(is_there: Callable[[], bool], what: str) -> None:
    until_s = clock.monotonic_s() + _START_S
    while not is_there():
        if clock.monotonic_s() > until_s:
            raise TimeoutError(f"{what} does not answer after {_START_S} s")
        clock.sleep(0.05)


@contextmanager
def _redis(folder: Path, fsync: str, on: set[int]) -> Iterator[tuple[int, Path]]:
    """The embedded server on its own: pid and socket. No rewrite of its file disturbs a run."""
    config = Config(data=folder)
    config.redis_socket.parent.mkdir(parents=True)
    command = redis_server.embedded_arguments(config)
    command += ["--appendfsync", fsync, "--auto-aof-rewrite-percentage", "0"]
    with processes.running(command, folder / "redis.log", on) as process:
        _wait(lambda: redis_server.answers(config.effective_redis_url), "redis")
        yield process.pid, config.redis_socket


class OwnRedis:
    """The embedded server outside a system, to be taken away from it."""

    def __init__(self, folder: Path, on: set[int]) -> None:
        self._config = Config(data=folder)
        self._config.redis_socket.parent.mkdir(parents=True)
        self._log = folder / "redis.log"
        self._on = on
        self._running: subprocess.Popen[str] | None = None
        self.url = self._config.effective_redis_url

    def start(self) -> None:
        """Start it on the data it left."""
        with self._log.open("ab") as log, processes.on_cores(self._on):
            self._running = subprocess.Popen(
                redis_server.embedded_arguments(self._config),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
            )

    def kill(self) -> None:
        """SIGKILL, as a machine would that loses its power but not its disk."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()
            self._running = None


@contextmanager
def own_redis(folder: Path, on: set[int]) -> Iterator[OwnRedis]:
    """A server with the embedded one's settings, killed with the block."""
    server = OwnRedis(folder, on)
    server.start()
    try:
        _wait(lambda: redis_server.answers(server.url), "redis")
        yield server
    finally:
        server.kill()


def _forget_in(socket_path: Path) -> None:
    client = redis.Redis(unix_socket_path=str(socket_path))
    client.unlink(STREAM)
    client.close()


@contextmanager
def _served(
    name: str,
    folder: Path,
    on: set[int],
    command: Callable[[Path, int, Path], Sequence[str]],
    *,
    fsync: str = "",
    status: int = 302,
) -> Iterator[Peer]:
    """A server by its command, with a Redis beside it if `fsync` says how it is to sync."""
    folder.mkdir()
    port = processes.free_port()
    with ExitStack() as stack:
        beside: dict[str, list[int]] = {}
        path = folder
        if fsync:
            pid, path = stack.enter_context(_redis(folder / "data", fsync, on))
            beside["redis"] = [pid]
        run = processes.running(command(folder, port, path), folder / "server.log", on)
        process = stack.enter_context(run)
        _wait(lambda: _is_open(port), name)

        def pids() -> processes.Pids:
            return {"server": [process.pid, *processes.children(process.pid)], **beside}

        yield Peer(
            name, port, status, pids, (lambda: _forget_in(path)) if fsync else (lambda: None)
        )


def _aiohttp(_folder: Path, port: int, _path: Path) -> list[str]:
    return [sys.executable, "-m", "bench.peers.aiohttp_app", str(port)]


def _aiohttp_xadd(_folder: Path, port: int, path: Path) -> list[str]:
    return [sys.executable, "-m", "bench.peers.aiohttp_app", str(port), str(path)]


@contextmanager
def all_peers(folder: Path, on: set[int], say: Callable[[str], None]) -> Iterator[list[Peer]]:
    """Every peer that can be had here, on these cores. Of others it is said why not."""
    with ExitStack() as stack:
        peers: list[Peer] = []

        def start(name: str, command: Callable[..., Sequence[str]], **more: Any) -> None:
            place = folder / f"peer{len(peers)}"
            peers.append(stack.enter_context(_served(name, place, on, command, **more)))

        why_not = install.nginx()
        if why_not:
            say(f"left out: nginx empty_gif ({why_not})")
        else:
            start("nginx empty_gif", lambda at, port, _: nginx.pixel(at, port), status=200)
        why_not = install.nginx_lua()
        if why_not:
            say(f"left out: nginx + Lua ({why_not})")
        else:
            start("nginx + Lua, always", nginx.lua, fsync="always")
            start("nginx + Lua, everysec", nginx.lua, fsync="everysec")
        start("aiohttp", _aiohttp)
        start("aiohttp + XADD", _aiohttp_xadd, fsync="always")
        yield peers
