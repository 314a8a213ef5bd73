"""A real Valkey server in a temporary folder, frames, and what the streams hold."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgpack
import pytest
import redis
import uvloop

from headwater.config import Config
from headwater.errors import JournalError
from headwater.journal import keys, redis_server
from headwater.journal.spool import Spool
from headwater.journal.writer import JournalWriter

T = TypeVar("T")
PRODUCER = 7


def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC32C = _table()


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC32C[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


def encode_frame(partition: int, producer: int, first_sequence: int, records: list[bytes]) -> bytes:
    """The wire format's frame, in Python, so that these tests need no extension."""
    body = b"".join(records)
    head = b"HWF\x01" + b"".join(
        (
            partition.to_bytes(2, "little"),
            len(records).to_bytes(2, "little"),
            producer.to_bytes(8, "little"),
            first_sequence.to_bytes(8, "little"),
            len(body).to_bytes(4, "little"),
        )
    )
    return head + crc32c(head + body).to_bytes(4, "little") + body


def frame_of(partition: int, producer: int, first: int, count: int = 1, size: int = 20) -> bytes:
    """A frame whose records name their own sequence."""
    records = [b"%020d" % (first + index) + b"x" * (size - 20) for index in range(count)]
    return encode_frame(partition, producer, first, records)


class Server:
    """An embedded server run as the supervisor runs it, ended by its process id."""

    def __init__(self, folder: Path, *extra: str) -> None:
        self.config = Config(data=folder)
        self.folder = self.config.redis_socket.parent
        self.folder.mkdir(parents=True, exist_ok=True)
        self.url = self.config.effective_redis_url
        self.extra = extra
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "log").open("ab") as out:
            self.process = subprocess.Popen(
                [*redis_server.embedded_arguments(self.config), *self.extra], stdout=out
            )
        for _ in range(6000):
            if redis_server.answers(self.url):
                return
            time.sleep(0.01)
        raise AssertionError((self.folder / "log").read_text())

    def signal(self, number: int) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self) -> None:
        if self.process is not None:
            self.signal(signal.SIGCONT)
            self.kill()

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, protocol=2)

    def frames(self, partition: int = 0) -> list[bytes]:
        with self.client() as client:
            return [fields[b"f"] for _, fields in client.xrange(keys.stream(partition))]

    def sequences(self, *partitions: int) -> set[tuple[int, int, int]]:
        """Every distinct (partition, producer, sequence) in the streams."""
        return named(frame for p in partitions or (0,) for frame in self.frames(p))


def named(frames: Any) -> set[tuple[int, int, int]]:
    found = set()
    for frame in frames:
        name = keys.frame_name(frame)
        for sequence in range(name.first_sequence, name.last_sequence + 1):
            found.add((name.partition, name.producer, sequence))
    return found


def record(producer: int, number: int, size: int = 60) -> bytes:
    """A record that says who submitted it, so that it is found again in a frame's body."""
    text = b"<%d:%d>" % (producer, number)
    return text + b"." * max(0, size - len(text))


def records_in(frames: Any) -> set[bytes]:
    """The `<producer:number>` names of all records in frames."""
    found: set[bytes] = set()
    for frame in frames:
        for part in frame[keys.HEADER_BYTES :].split(b"<")[1:]:
            found.add(part.partition(b">")[0])
    return found


def same_bytes(frames: Any) -> None:
    """Every copy of a frame has the same bytes."""
    seen: dict[tuple[int, int, int], bytes] = {}
    for frame in frames:
        name = keys.frame_name(frame)
        key = (name.partition, name.producer, name.first_sequence)
        assert seen.setdefault(key, frame) == frame


def run(job: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the loop that production uses."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(job)


@asynccontextmanager
async def writing(
    url: str, root: Path, producer: int = 7, *, drain_s: float = 2.0, **limits: Any
) -> AsyncIterator[JournalWriter]:
    # A busy test machine must not look like a silent Redis; tests of that give the real time.
    settings = {"answer_ms": 1000, "committed_poll_ms": 50, "orphan_poll_ms": 50, **limits}
    writer = JournalWriter(
        url=url, root=root, producer=producer, encode_frame=encode_frame, **settings
    )
    await writer.start()
    try:
        yield writer
    finally:
        await writer.close(drain_s)


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for a condition; fail when it does not come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        await asyncio.sleep(0.005)


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    return await asyncio.get_running_loop().run_in_executor(None, function, *args)


class Proxy:
    """Stands between a client and a server's socket and can lose or hold answers."""

    def __init__(self, target: Path, path: Path) -> None:
        self.target, self.path = target, path
        self.url = f"unix://{path}"
        self.drop_answers = False
        self.delay_s = 0.0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_unix_server(self._serve, self.path)
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.sleep(0.01)

    def cut(self) -> None:
        """Break every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_unix_connection(self.target)
        self._writers |= {writer, to_writer}
        await asyncio.gather(
            self._copy(reader, to_writer, self._pass_on), self._copy(to_reader, writer, self._back)
        )

    async def _copy(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        gate: Callable[[], Awaitable[bool]],
    ) -> None:
        try:
            while data := await reader.read(65536):
                if await gate():
                    writer.write(data)
        except OSError:
            pass
        finally:
            writer.transport.abort()

    async def _pass_on(self) -> bool:
        return True

    async def _back(self) -> bool:
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        return not self.drop_answers


@pytest.fixture
def short_folder() -> Iterator[Path]:
    # A socket's path has at most 107 characters; pytest's folders are longer.
    # A server killed in the middle of its work may have a child that still writes for a moment.
    with tempfile.TemporaryDirectory(prefix="hwj-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture
def valkey(short_folder: Path) -> Iterator[Server]:
    server = Server(short_folder)
    server.start()
    yield server
    server.stop()


class Load:
    """Submitters that never pause; remembers what was answered."""

    def __init__(self, writer: JournalWriter, *, partitions: int = 2, submitters: int = 8) -> None:
        self.writer = writer
        self.partitions = partitions
        self.answered: set[bytes] = set()
        self.in_spool = 0
        self.refused = 0
        self.slowest_s = 0.0
        self._next = 0
        self._tasks = [asyncio.create_task(self._submit()) for _ in range(submitters)]

    async def _submit(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._next += 1
            number = self._next
            started = loop.time()
            try:
                in_redis = await self.writer.submit(
                    number % self.partitions, record(self.writer.producer, number)
                )
            except JournalError:
                self.refused += 1
                await asyncio.sleep(0.001)
                continue
            self.slowest_s = max(self.slowest_s, loop.time() - started)
            self.answered.add(b"%d:%d" % (self.writer.producer, number))
            self.in_spool += not in_redis

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def stored(server: Server, partitions: int = 2) -> list[bytes]:
    return [frame for partition in range(partitions) for frame in server.frames(partition)]


async def delivered(server: Server, load: Load) -> None:
    """Everything answered comes to be in the streams, each frame with the bytes it always had."""
    await until(lambda: load.writer.redis_ok and load.writer.pending_frames == 0, 60)
    frames = stored(server, load.partitions)
    assert load.answered <= records_in(frames)
    same_bytes(frames)


def commit_all(server: Server, partitions: int = 2) -> None:
    """Stand in for the matcher: everything in the streams is committed."""
    with server.client() as client:
        for partition in range(partitions):
            ranges: dict[int, list[list[int]]] = {}
            for name in map(keys.frame_name, server.frames(partition)):
                ranges.setdefault(name.producer, []).append(
                    [name.first_sequence, name.last_sequence]
                )
            for producer, found in ranges.items():
                client.hset(
                    keys.committed(partition), keys.producer_name(producer), msgpack.packb(found)
                )


def spool_folders(folder: Path) -> list[str]:
    root = folder / "spool"
    return sorted(path.name for path in root.iterdir()) if root.exists() else []


def abandoned(root: Path, producer: int, count: int, partition: int = 0) -> list[bytes]:
    """A spool as a killed process leaves it."""
    spool = Spool(root / keys.producer_name(producer), producer)
    frames = [frame_of(partition, producer, 1 + 3 * n, 3) for n in range(count)]
    for frame in frames:
        spool.append(partition, frame)
    spool.close()
    return frames
