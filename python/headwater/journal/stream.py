"""The log as the matcher reads it: streams of frames, generations, committed ranges.

Synchronous, on redis-py: the matcher is one step after another. The generation names one unbroken
life of the streams. A server that was flushed, restored or replaced does not hold the log the
ledger's positions are of; `GenerationChanged` says so before anything of it is used.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import msgpack
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from headwater import ids, limits
from headwater.errors import JournalError
from headwater.journal import keys

log = logging.getLogger(__name__)

_ANSWER_S = 5.0
_STATUS_KEPT_S = 10

Position = tuple[int, int]
Entry = tuple[int, int, bytes]
"""Stream milliseconds, stream sequence, frame."""
Told = tuple[int, bytes, str, bytes, bytes]
"""Producer, event id, conversion id as text, message, decision."""


class GenerationChanged(JournalError):
    """The server is not, or no longer holds, the log that was expected."""

    def __init__(self, why: str, run_id: str) -> None:
        super().__init__(why)
        self.run_id = run_id
        """Of the server that answers now."""


class StreamReader:
    """One connection to the streams of `partitions`; reconnects by itself at the next call."""

    def __init__(self, url: str, partitions: Iterable[int]) -> None:
        self._url = url
        self.partitions = list(partitions)
        self.generation: str | None = None
        """`<number>:<token>` as found in Redis; None until known."""
        self.run_id = ""
        """Of the server the generation was begun on."""
        self._number = 0
        self._client: redis.Redis | None = None
        self._frame_bytes = 1024.0
        self._decision_kept_s = limits.DECISION_KEPT_S

    def expect(self, number: int, run_id: str | None) -> None:
        """Say what the ledger holds: the generation's number and the server's run id."""
        self._number = number
        self.run_id = run_id or ""
        self.generation = None
        self._drop()

    # ---- connection

    def _connected(self) -> redis.Redis:
        """A live client, on a server checked to be the expected one."""
        if self._client is None:
            client = _open(self._url)
            try:
                found = client.info("server")["run_id"]
                generation = cast("bytes | None", client.get(keys.GENERATION))
            except BaseException:
                client.close()
                raise
            self._client = client
            self._check(str(found), generation)
        return self._client

    def _check(self, run_id: str, generation: bytes | None) -> None:
        text = generation.decode("ascii", "replace") if generation else None
        if run_id != self.run_id:
            self._refuse("another server, or the same one started again", run_id)
        expected = self.generation
        if text is None or (text != expected if expected else not _of(text, self._number)):
            self._refuse(f"generation {text}, expected {expected or self._number}", run_id)
        self.generation = text

    def _refuse(self, why: str, run_id: str) -> None:
        # The next call must look again, not go on as if it had been accepted.
        self._drop()
        raise GenerationChanged(why, run_id)

    def _drop(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            client.close()

    def _run(self, commands: Sequence[Sequence[Any]], *, atomic: bool = False) -> list[Any]:
        """Answers to a pipeline of commands. Raises JournalError when Redis cannot do them."""
        try:
            return _pipeline(self._connected(), commands, atomic)
        except redis.ResponseError as error:
            raise JournalError(f"Redis refused: {error}") from error
        except (redis.RedisError, OSError) as error:
            self._drop()
            raise JournalError(f"Redis does not answer: {error}") from error

    # ---- reading

    def read(
        self, positions: Mapping[int, Position], count: int, block_ms: int
    ) -> dict[int, list[Entry]]:
        """Entries after each position, in log order, at most about `count` a partition.

        Waits up to `block_ms` while there is none. Raises GenerationChanged when what was read
        cannot be trusted to follow the positions.
        """
        partitions = list(positions)
        # A full read of the largest frames would not fit in memory.
        fits = int(limits.READ_BYTES_MAX / self._frame_bytes / max(1, len(partitions)))
        command: list[Any] = ["XREAD", "COUNT", max(1, min(count, fits))]
        if block_ms:
            command += ["BLOCK", block_ms]
        command += ["STREAMS", *map(keys.stream, partitions)]
        command += [_id(positions[partition]) for partition in partitions]
        # The generation is asked for after the entries: had it changed before them, it shows.
        answer, generation = self._run([command, ["GET", keys.GENERATION]])
        if generation is None or generation.decode() != self.generation:
            self._refuse(f"generation {generation}, expected {self.generation}", self.run_id)
        return self._entries(answer)

    def _entries(self, answer: list[Any] | None) -> dict[int, list[Entry]]:
        found: dict[int, list[Entry]] = {}
        total = count = 0
        for name, entries in answer or ():
            partition = int(name.rpartition(b":")[2])
            frames = found[partition] = []
            for entry_id, fields in entries:
                ms, _, seq = entry_id.partition(b"-")
                # An entry somebody else wrote has no frame; the engine sets it aside.
                frame = fields[1] if len(fields) > 1 and fields[0] == b"f" else b""
                frames.append((int(ms), int(seq), frame))
                total += len(frame)
                count += 1
        if count:
            self._frame_bytes = max(64.0, total / count)
        return found

    # ---- writing

    def append(self, partition: int, frame: bytes) -> Position:
        """Put a frame on the log; its position."""
        answer = self._run([["XADD", keys.stream(partition), "*", keys.FRAME_FIELD, frame]])
        return _position(answer[0])

    def trim(self, partition: int, below: Position) -> int:
        """Drop entries below a position that is archived and committed; how many."""
        answer = self._run([["XTRIM", keys.stream(partition), "MINID", _id(below)]])
        return int(answer[0])

    def publish(
        self,
        committed: Mapping[int, Mapping[int, Sequence[Sequence[int]]]],
        decisions: Sequence[Told],
    ) -> None:
        """Say what is committed, by partition and producer, and tell waiting edges."""
        commands: list[list[Any]] = []
        for partition, producers in committed.items():
            pairs: list[Any] = []
            for producer, ranges in producers.items():
                pairs += [keys.producer_name(producer), msgpack.packb([list(r) for r in ranges])]
            if pairs:
                commands.append(["HSET", keys.committed(partition), *pairs])
        for producer, _event_id, conversion_id, message, decision in decisions:
            commands.append(self._keep(conversion_id, decision))
            commands.append(["PUBLISH", keys.decided(producer), message])
        if commands:
            self._run(commands)

    def keep_decisions(self, decisions: Iterable[tuple[str, bytes]]) -> None:
        """Store decisions, (conversion id as text, bytes), without telling anyone."""
        commands = [self._keep(conversion_id, decision) for conversion_id, decision in decisions]
        if commands:
            self._run(commands)

    def _keep(self, conversion_id: str, decision: bytes) -> list[Any]:
        return ["SET", keys.decision(conversion_id), decision, "EX", self._decision_kept_s]

    def watch_memory(self) -> None:
        """Keep new decisions for minutes only while Redis is over half full: the room is the
        log's, and the console answers for what Redis no longer has.
        """
        (info,) = self._run([["INFO", "memory"]])
        facts = dict(
            line.split(":", 1) for line in info.decode("ascii", "replace").split() if ":" in line
        )
        bound = int(facts.get("maxmemory", 0))
        full = bool(bound) and int(facts.get("used_memory", 0)) > bound // 2
        self._decision_kept_s = limits.DECISION_KEPT_FULL_S if full else limits.DECISION_KEPT_S

    def take_lookups(self, count: int) -> list[str]:
        """Conversion ids (texts) that edges ask for, removed from the list."""
        answer = self._run([["LPOP", keys.LOOKUP]] * count)
        return [item.decode() for item in answer if item is not None]

    def status(self, status: bytes) -> None:
        """The matcher's state, for edges and `doctor`; it expires when the matcher is gone."""
        self._run([["SET", keys.MATCHER, status, "EX", _STATUS_KEPT_S]])

    # ---- generations

    def begin_generation(
        self,
        number: int,
        positions: Mapping[int, Position],
        ticks: Mapping[int, bytes] | None = None,
        first: Mapping[int, Sequence[bytes]] | None = None,
    ) -> str:
        """Make the streams continue after `positions` and name the generation; its name.

        New entries get ids above the positions even when the streams are gone or the server's
        clock is behind. `first` holds frames by partition that go on the log before edges are
        told to resend; `ticks` one frame each that follows them, so that engine time moves.
        """
        self._drop()
        name = f"{number}:{ids.token()}"
        try:
            client = _open(self._url)
            try:
                run_id = str(client.info("server")["run_id"])
                for partition, position in positions.items():
                    _raise_last_id(client, partition, position)
                frames = [
                    ["XADD", keys.stream(partition), "*", keys.FRAME_FIELD, frame]
                    for group in (first or {}, {p: [tick] for p, tick in (ticks or {}).items()})
                    for partition, frames in group.items()
                    for frame in frames
                ]
                if frames:
                    _pipeline(client, frames, atomic=False)
                client.set(keys.GENERATION, name)
            finally:
                client.close()
        except (redis.RedisError, OSError) as error:
            raise JournalError(f"Redis cannot begin a generation: {error}") from error
        self._number, self.generation, self.run_id = number, name, run_id
        log.info("generation begun", extra={"fields": {"number": number, "run_id": run_id}})
        return name

    def close(self) -> None:
        self._drop()


def _open(url: str) -> redis.Redis:
    """A client with one connection that never reconnects unseen."""
    connects = 0

    def connect_once(connection: Any) -> None:
        nonlocal connects
        connects += 1
        if connects > 1:
            raise redis.ConnectionError("the connection was lost")
        connection.on_connect()

    return redis.Redis.from_url(
        url,
        socket_timeout=_ANSWER_S,
        socket_connect_timeout=_ANSWER_S,
        retry=Retry(NoBackoff(), 0),
        max_connections=1,
        redis_connect_func=connect_once,
        protocol=2,
    )


def _pipeline(client: redis.Redis, commands: Sequence[Sequence[Any]], atomic: bool) -> list[Any]:
    pipeline = client.pipeline(transaction=atomic)
    # Answers are taken raw: redis-py would turn entries into dictionaries, one by one.
    pipeline.response_callbacks = type(pipeline.response_callbacks)({})
    for command in commands:
        pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
    # redis-py puts the command into the error it raises: a frame, and what it says of a visitor.
    answers = pipeline.execute(raise_on_error=False)
    for answer in answers:
        if isinstance(answer, redis.RedisError):
            raise answer
    return answers


def _raise_last_id(client: redis.Redis, partition: int, position: Position) -> None:
    """Let the stream's last id be at least `position`, so that what comes is read."""
    if position == (0, 0):
        return
    name = keys.stream(partition)
    try:
        info = client.xinfo_stream(name)
    except redis.ResponseError as error:
        if "no such key" not in str(error):
            raise
        # An entry added and deleted leaves an empty stream with the id it must continue from.
        _pipeline(
            client,
            [
                ["XADD", name, _id(position), keys.FRAME_FIELD, b""],
                ["XDEL", name, _id(position)],
            ],
            atomic=True,
        )
        return
    if _position(info["last-generated-id"]) < position:
        _pipeline(client, [["XSETID", name, _id(position)]], atomic=False)


def _id(position: Position) -> str:
    return f"{position[0]}-{position[1]}"


def _position(text: bytes | str) -> Position:
    ms, _, seq = (text.decode() if isinstance(text, bytes) else text).partition("-")
    return int(ms), int(seq)


def _of(generation: str, number: int) -> bool:
    return generation.partition(":")[0] == str(number)
