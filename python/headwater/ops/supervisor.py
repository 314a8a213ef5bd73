"""`headwater up`: the whole system as child processes of one supervisor.

A role that dies is started again after a pause that grows while it keeps dying; the log says how
it ended. Children run in sessions of their own, so Ctrl-C reaches only the supervisor, and ask
the kernel to be killed when it dies, so that nothing outlives it.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import fcntl
import http.client
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from prometheus_client import multiprocess

from headwater import clock, config, limits
from headwater.errors import HeadwaterError
from headwater.journal import redis_server
from headwater.ledger.engine import open_ledger

log = logging.getLogger(__name__)

POLL_S = 0.05
REDIS_START_S = 15.0
READY_S = 60.0
READY_POLL_S = 0.05
STOP_S = limits.DRAIN_S + 10.0
CONSOLE_READY = "console.ready"

_NICE = ["nice", "-n", "19"]
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _die_with(parent: int) -> Callable[[], None]:
    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # The parent may have died before the kernel was asked.
        if os.getppid() != parent:
            os._exit(1)

    return prepare


def environment_of(settings: config.Config) -> dict[str, str]:
    """The configuration as a child reads it: every value in force, as `HEADWATER_*`."""
    values = {}
    for item in dataclasses.fields(settings):
        value = getattr(settings, item.name)
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        values[config.PREFIX + item.name.upper()] = text
    values["HEADWATER_DATA"] = str(settings.data.absolute())
    return values


class Role:
    """One child process and its restarts."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        self.name = name
        self._command = command
        self._environment = environment
        self._pause_ms = limits.RESTART_PAUSE_MS
        self._started_s = 0.0
        self._again_s: float | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.deaths = 0

    def start(self) -> None:
        self._again_s = None
        self._started_s = clock.monotonic_s()
        self.process = subprocess.Popen(  # noqa: S603 - our own command line
            self._command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),
            start_new_session=True,
            preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509 - the supervisor has no threads
        )
        log.info("role started", extra={"fields": {"name": self.name, "pid": self.process.pid}})

    def watch(self) -> None:
        """Notice a death and start again when the pause is over. Called all the time."""
        now = clock.monotonic_s()
        if self._again_s is not None:
            if now >= self._again_s:
                self.start()
            return
        if self.process is None or self.process.poll() is None:
            return
        self._forget_gauges(self.process.pid)
        if now - self._started_s > limits.RESTART_FORGIVE_MS / 1000:
            self._pause_ms = limits.RESTART_PAUSE_MS
        self.deaths += 1
        log.error(
            "role died",
            extra={
                "fields": {
                    "name": self.name,
                    "pid": self.process.pid,
                    "why": _how_it_ended(self.process.returncode),
                    "restart_in_ms": self._pause_ms,
                }
            },
        )
        self._again_s = now + self._pause_ms / 1000
        self._pause_ms = min(self._pause_ms * 2, limits.RESTART_PAUSE_MS_MAX)

    def _forget_gauges(self, pid: int) -> None:
        """A dead process' gauges must not be summed any more; its counters must."""
        folder = self._environment.get("PROMETHEUS_MULTIPROC_DIR")
        if folder:
            multiprocess.mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]

    def stop(self, number: signal.Signals) -> None:
        self._again_s = None
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None


def _how_it_ended(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


class Errand:
    """A command that is run once in a while, at low priority, and ends by itself."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        self._role = Role(name, [*_NICE, *command], environment)
        self._next_s = clock.monotonic_s() + limits.ERASURE_LOOK_MIN_MS / 1000

    def watch(self) -> None:
        """Run it when its time has come. Called all the time."""
        process = self._role.process
        if process is not None and process.poll() is not None:
            if process.returncode:
                fields = {"name": self._role.name, "why": _how_it_ended(process.returncode)}
                log.error("errand failed", extra={"fields": fields})
            self._role.process = None
        if self._role.process is None and clock.monotonic_s() >= self._next_s:
            self._next_s = clock.monotonic_s() + limits.ERASURE_LOOK_MS / 1000
            self._role.start()

    def stop(self) -> None:
        """End it at once: it goes on the next time where it was."""
        self._role.stop(signal.SIGKILL)
        if self._role.process is not None:
            self._role.process.wait()


class Supervisor:
    """Starts the roles in order, watches them, stops them in order."""

    def __init__(self, settings: config.Config) -> None:
        self._config = settings
        self._stop_signals = 0
        self._environment = {**os.environ, **environment_of(settings)}
        self._redis: Role | None = None
        self._roles: list[Role] = []
        python = [sys.executable, "-m", "headwater"]
        self._rewriter = Errand("rewriter", [*python, "rewrite"], self._environment)

    def run(self) -> int:
        """Run until a signal; the exit code."""
        data = self._config.data
        data.mkdir(parents=True, exist_ok=True)
        run = data / "run"
        run.mkdir(exist_ok=True)
        with _exclusive(data / "up.lock"):
            _require_free(self._config.host, self._config.port)
            _require_free(self._config.console_host, self._config.console_port)
            self._prepare(run)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._on_signal)
            try:
                return self._supervise()
            finally:
                self._rewriter.stop()
                for role in [*self._roles, *([self._redis] if self._redis else [])]:
                    role.stop(signal.SIGKILL)

    def _prepare(self, run: Path) -> None:
        (run / CONSOLE_READY).unlink(missing_ok=True)
        metrics = run / "metrics"
        metrics.mkdir(exist_ok=True)
        for file in metrics.glob("*.db"):
            file.unlink()
        self._environment["PROMETHEUS_MULTIPROC_DIR"] = str(metrics.absolute())

    def _on_signal(self, number: int, _frame: object) -> None:
        self._stop_signals += 1
        if self._stop_signals > 1:
            for role in [*self._roles, *([self._redis] if self._redis else [])]:
                role.stop(signal.SIGKILL)
            os._exit(128 + number)

    def _supervise(self) -> int:
        # A server that would lose data is refused before anything else is started.
        self._start_redis()
        open_ledger(self._config.effective_ledger_url).close()
        self._start_roles()
        announced = False
        deadline_s = clock.monotonic_s() + READY_S
        while not self._stop_signals:
            for role in [*self._roles, *([self._redis] if self._redis else [])]:
                role.watch()
            if announced:
                self._rewriter.watch()
            elif self._ready():
                self._announce()
                announced = True
            if not announced and clock.monotonic_s() > deadline_s:
                log.error("not ready in time", extra={"fields": {"seconds": READY_S}})
                deadline_s = float("inf")
            clock.sleep(POLL_S)
        return self._stop()

    def _start_redis(self) -> None:
        if not self._config.redis_url:
            require_short(self._config.redis_socket)
            self._config.redis_socket.parent.mkdir(parents=True, exist_ok=True)
            arguments = redis_server.embedded_arguments(self._config)
            self._redis = Role("redis", arguments, dict(os.environ))
            self._redis.start()
        until_s = clock.monotonic_s() + REDIS_START_S
        while not redis_server.answers(self._config.effective_redis_url):
            if redis_server.is_loading(self._config.effective_redis_url):
                # A gigabyte takes its time; giving up would make the next start load it again.
                until_s = clock.monotonic_s() + REDIS_START_S
            if clock.monotonic_s() > until_s:
                raise HeadwaterError("Redis does not answer")
            if self._redis:
                self._redis.watch()
            clock.sleep(POLL_S)
        redis_server.assert_safe(self._config.effective_redis_url, self._config.allow_unsafe_redis)

    def _start_roles(self) -> None:
        python = [sys.executable, "-m", "headwater"]
        self._roles = [
            Role("matcher", [*python, "matcher"], self._environment),
            Role("console", [*python, "console"], self._environment),
            Role("courier", [*python, "courier"], self._environment),
            *(
                Role(f"edge-{number}", [*python, "edge"], self._environment)
                for number in range(self._config.edges)
            ),
        ]
        for role in self._roles:
            role.start()

    def _ready(self) -> bool:
        connection = http.client.HTTPConnection(self._config.host, self._config.port, timeout=1)
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            contextlib.closing(connection),
        ):
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        return False

    def _announce(self) -> None:
        public = f"http://{self._config.host}:{self._config.port}"
        console = f"http://{self._config.console_host}:{self._config.console_port}"
        sys.stdout.write(f"ready {public} console {console}\n")
        sys.stdout.flush()

    def _stop(self) -> int:
        """Edges first, so that nothing more comes in; Redis last, when all is committed."""
        self._rewriter.stop()
        order = [
            [role for role in self._roles if role.name.startswith("edge")],
            [role for role in self._roles if role.name == "console"],
            [role for role in self._roles if role.name in ("matcher", "courier")],
            [self._redis] if self._redis else [],
        ]
        clean = True
        for group in order:
            for role in group:
                role.stop(signal.SIGTERM)
            until_s = clock.monotonic_s() + STOP_S
            while any(role.running() for role in group) and clock.monotonic_s() < until_s:
                clock.sleep(POLL_S / 5)
            for role in group:
                if role.running():
                    log.error("role did not stop in time", extra={"fields": {"name": role.name}})
                    role.stop(signal.SIGKILL)
                    clean = False
        return 0 if clean else 1


@contextlib.contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Hold a file's lock: one system a data folder."""
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise HeadwaterError(f"another system runs on {path.parent}") from None
        yield


def _require_free(host: str, port: int) -> None:
    """Say at once that a port is taken: the roles would die of it again and again."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise HeadwaterError(f"cannot listen on {host}:{port}: {error.strerror}") from None


def require_short(socket_path: Path) -> None:
    """Say at once that the embedded server's socket cannot be made in so deep a folder."""
    size = len(os.fsencode(socket_path))
    if size > limits.SOCKET_PATH_BYTES_MAX:
        raise HeadwaterError(
            f"the path {socket_path} has {size} bytes, a unix socket's at most "
            f"{limits.SOCKET_PATH_BYTES_MAX}: choose a data folder nearer to the root"
        )
