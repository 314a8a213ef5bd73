"""The configuration as edges hold it: in memory, fed by a log in Redis, kept in a local file.

A process starts from its file when everything else is down. The log carries changes in the order
of their revision; who is too far behind, or finds the log begun anew, reads all objects again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgpack

from headwater import background, clock, faults, ids, limits
from headwater.errors import JournalError
from headwater.journal import keys
from headwater.journal.archive import sync_directory
from headwater.journal.resp import RedisError, RespClient

log = logging.getLogger(__name__)

_MAGIC: Final = b"HWCONF1\n"
_DIGEST_BYTES: Final = 32
_BLOCK_MS: Final = 1000
_FRESH_S: Final = 5.0
_PERSIST_S: Final = 0.5
_BATCH: Final = 500

Value = dict[str, Any] | None
Entry = tuple[int, str, int, Value]
"""Revision, object, number, value; a value of None is a deletion."""
Apply = Callable[[str, int, Value], None]
_Held = dict[tuple[str, int], tuple[int, dict[str, Any]]]


class ConfigFeed:
    """Calls `apply(object, number, value)` for each object at start and for every change."""

    def __init__(self, url: str, file: Path, apply: Apply) -> None:
        self._url = url
        self._file = file
        self._apply = apply
        self._held: _Held = {}
        self.revision = 0
        """Of the last change applied."""
        self._seed: bytes | None = None
        self._heard_s = float("-inf")
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._settled = asyncio.Event()

    async def start(self) -> None:
        """Apply what the local file holds, and begin to follow Redis, which may be down."""
        loaded = await asyncio.get_running_loop().run_in_executor(None, _load, self._file)
        if loaded is not None:
            self.revision, self._seed, self._held = loaded
            for (kind, number), (_revision, value) in self._held.items():
                self._apply(kind, number, value)
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._persist())]

    async def close(self) -> None:
        """Stop following; changes not yet in the file are written."""
        await background.stop(*self._tasks)
        if self._tasks and self._changed.is_set():
            await self._save()
        self._tasks = []

    async def settled(self, timeout_s: float) -> None:
        """Wait, at most so long, until everything published before now is applied, or Redis is
        found to be away: who listens earlier sends visitors of new links to nowhere.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._settled.wait()

    @property
    def fresh(self) -> bool:
        """Whether Redis has answered lately, so that no published change is missing."""
        return clock.monotonic_s() - self._heard_s < _FRESH_S

    # ---- following

    async def _follow(self) -> None:
        pause_s = limits.REDIS_RETRY_MS / 1000
        while True:
            try:
                client = await RespClient.connect(
                    self._url, timeout_s=limits.REDIS_CONNECT_MS / 1000
                )
            except JournalError:
                self._settled.set()
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, limits.REDIS_RETRY_MS_MAX / 1000)
                continue
            try:
                await self._catch_up(client)
                while await self._tail(client, block_ms=1):
                    pass
                self._settled.set()
                pause_s = limits.REDIS_RETRY_MS / 1000
                while True:
                    await self._tail(client)
            except (JournalError, TimeoutError) as error:
                log.warning("configuration not followed", extra={"fields": {"why": str(error)}})
            except (ValueError, TypeError):
                log.exception("configuration unreadable")
            finally:
                client.abort()
            await asyncio.sleep(pause_s)

    async def _catch_up(self, client: RespClient) -> None:
        """Read all objects when the log does not reach back to the revision held."""
        async with asyncio.timeout(limits.REDIS_HANG_MS / 1000):
            seed, first, last = await asyncio.gather(
                client.call("GET", keys.CONFIG_SEED),
                client.call("XRANGE", keys.CONFIG_LOG, "-", "+", "COUNT", 1),
                client.call("XREVRANGE", keys.CONFIG_LOG, "+", "-", "COUNT", 1),
            )
        oldest = _revision(first[0][0]) if first else 0
        newest = _revision(last[0][0]) if last else 0
        reseeded = seed is not None and seed != self._seed
        # A log that ends before what is held is an older one restored: what is held stays until
        # the publisher has seeded the objects anew.
        if reseeded or oldest > self.revision + 1:
            await self._read_all(client, seed, newest)
        self._heard_s = clock.monotonic_s()

    async def _read_all(self, client: RespClient, seed: bytes | None, newest: int) -> None:
        """Take over every object; what is missing is deleted, if the objects are known whole."""
        found: _Held = {}
        cursor = b"0"
        while True:
            async with asyncio.timeout(limits.REDIS_HANG_MS / 1000):
                cursor, flat = await client.call(
                    "HSCAN", keys.CONFIG_OBJECTS, cursor, "COUNT", _BATCH
                )
            for packed in flat[1::2]:
                revision, kind, number, value = msgpack.unpackb(packed)
                found[kind, number] = (revision, value)
            if cursor == b"0":
                break
        async with asyncio.timeout(limits.REDIS_HANG_MS / 1000):
            whole = seed is not None and await client.call("GET", keys.CONFIG_SEED) == seed
        if seed is not None and not whole:
            raise JournalError("the objects were seeded again while they were read")
        for at, (revision, value) in found.items():
            self._put(revision, *at, value)
        if whole:
            for at in [at for at in self._held if at not in found]:
                self._put(0, *at, None)
            self._seed = seed
            self.revision = newest
        else:
            self.revision = max(self.revision, newest)
        log.info(
            "configuration read",
            extra={"fields": {"objects": len(found), "revision": self.revision, "whole": whole}},
        )
        self._changed.set()

    async def _tail(self, client: RespClient, block_ms: int = _BLOCK_MS) -> bool:
        """Apply the next changes, or notice that the objects were seeded anew; whether there was
        anything to do.
        """
        async with asyncio.timeout(block_ms / 1000 + limits.REDIS_HANG_MS / 1000):
            answer, seed = await asyncio.gather(
                client.call(
                    *("XREAD", "COUNT", _BATCH, "BLOCK", block_ms, "STREAMS"),
                    *(keys.CONFIG_LOG, f"{self.revision}-0"),
                ),
                client.call("GET", keys.CONFIG_SEED),
            )
        if seed is not None and seed != self._seed:
            await self._catch_up(client)
            return True
        entries = answer[0][1] if answer else []
        for entry_id, fields in entries:
            revision, kind, number, value = msgpack.unpackb(fields[1])
            held = self._held.get((kind, number))
            if held is None or held[0] < revision:
                self._put(revision, kind, number, value)
            self.revision = max(self.revision, _revision(entry_id))
            self._changed.set()
        if len(entries) == _BATCH:
            # So far behind that the log may have been trimmed past this place meanwhile.
            await self._catch_up(client)
        self._heard_s = clock.monotonic_s()
        return bool(entries)

    def _put(self, revision: int, kind: str, number: int, value: Value) -> None:
        if value is None:
            known = self._held.pop((kind, number), None)
            if known is None:
                return
        else:
            known = self._held.get((kind, number))
            self._held[kind, number] = (revision, value)
            if known is not None and known[1] == value:
                return
        try:
            self._apply(kind, number, value)
        except Exception:
            # One object that does not fit must not keep every other change from the edge.
            log.exception("configuration object not applied")

    # ---- the local file

    async def _persist(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(_PERSIST_S)
            await self._save()

    async def _save(self) -> None:
        self._changed.clear()
        held = [(*at, *entry) for at, entry in self._held.items()]
        try:
            await asyncio.get_running_loop().run_in_executor(
                None, _store, self._file, self.revision, self._seed, held
            )
        except OSError as error:
            log.warning("configuration not kept", extra={"fields": {"why": str(error)}})


def _store(
    file: Path, revision: int, seed: bytes | None, held: list[tuple[str, int, int, Any]]
) -> None:
    """Write the file under another name and put it in place; a reader sees old or new."""
    body = msgpack.packb([revision, seed, held])
    partial = file.with_name(f"{file.name}.{os.getpid()}")
    file.parent.mkdir(parents=True, exist_ok=True)
    with partial.open("wb") as out:
        out.write(_MAGIC + hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest() + body)
        out.flush()
        os.fsync(out.fileno())
    partial.replace(file)
    sync_directory(file.parent)


def _load(file: Path) -> tuple[int, bytes | None, _Held] | None:
    """What the file holds; None when there is none or it is damaged."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("configuration file unreadable", extra={"fields": {"why": str(error)}})
        return None
    start = len(_MAGIC) + _DIGEST_BYTES
    digest, body = data[len(_MAGIC) : start], data[start:]
    if (
        not data.startswith(_MAGIC)
        or hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest() != digest
    ):
        log.error("configuration file damaged", extra={"fields": {"file": str(file)}})
        return None
    revision, seed, held = msgpack.unpackb(body)
    return revision, seed, {(kind, number): (rev, value) for kind, number, rev, value in held}


def _revision(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])


# ---- publishing


async def publish_config(client: RespClient, entries: Sequence[Entry]) -> None:
    """Tell edges of changes, in order of revision; what is on the log already is left out.

    One publisher at a time. Raises JournalError; then some may be published and some not, and
    the same call again mends it.
    """
    top = await client.call("XREVRANGE", keys.CONFIG_LOG, "+", "-", "COUNT", 1)
    newest = _revision(top[0][0]) if top else 0
    fresh = sorted((entry for entry in entries if entry[0] > newest), key=lambda entry: entry[0])
    for start in range(0, len(fresh), _BATCH):
        await _publish(client, fresh[start : start + _BATCH])
    if fresh:
        oldest = fresh[-1][0] - limits.CONFIG_LOG_ENTRIES
        if oldest > 0:
            await client.call("XTRIM", keys.CONFIG_LOG, "MINID", f"{oldest}-0")


async def _publish(client: RespClient, entries: Sequence[Entry]) -> None:
    """One transaction: log and objects never differ."""
    answers = [client.call("MULTI")]
    for revision, kind, number, value in entries:
        packed = msgpack.packb([revision, kind, number, value])
        name = f"{kind}:{number}"
        answers.append(
            client.call("XADD", keys.CONFIG_LOG, f"{revision}-0", keys.OBJECT_FIELD, packed)
        )
        if value is None:
            answers.append(client.call("HDEL", keys.CONFIG_OBJECTS, name))
        else:
            answers.append(client.call("HSET", keys.CONFIG_OBJECTS, name, packed))
    answers.append(client.call("EXEC"))
    faults.reach("config.published")
    *_queued, done = await asyncio.gather(*answers, return_exceptions=True)
    if isinstance(done, BaseException):
        raise done
    for reply in done:
        if isinstance(reply, RedisError):
            raise reply


async def is_seeded(client: RespClient) -> bool:
    """Whether the objects in Redis are whole: `reseed` was done since they were last lost."""
    return bool(await client.call("EXISTS", keys.CONFIG_SEED))


async def reseed(client: RespClient, all_entries: Iterable[Entry]) -> None:
    """Put every object into Redis anew, at first start and when Redis has lost them.

    Edges keep what they have until all of it is there. Raises JournalError.
    """
    partial = f"{keys.CONFIG_OBJECTS}:partial"
    await client.call("DEL", partial)
    newest: Entry | None = None
    pairs: list[str | bytes] = []
    for entry in all_entries:
        revision, kind, number, value = entry
        if newest is None or revision > newest[0]:
            newest = entry
        if value is not None:
            pairs += [f"{kind}:{number}", msgpack.packb(entry)]
        if len(pairs) >= 2 * _BATCH:
            await client.call("HSET", partial, *pairs)
            pairs = []
    if pairs:
        await client.call("HSET", partial, *pairs)
    commands: list[tuple[bytes | str | int, ...]] = [("MULTI",), ("DEL", keys.CONFIG_OBJECTS)]
    if await client.call("EXISTS", partial):
        commands.append(("RENAME", partial, keys.CONFIG_OBJECTS))
    commands.append(("DEL", keys.CONFIG_LOG))
    if newest is not None:
        packed = msgpack.packb(newest)
        commands.append(("XADD", keys.CONFIG_LOG, f"{newest[0]}-0", keys.OBJECT_FIELD, packed))
    commands += [("SET", keys.CONFIG_SEED, ids.token()), ("EXEC",)]
    await asyncio.gather(*(client.call(*command) for command in commands))
