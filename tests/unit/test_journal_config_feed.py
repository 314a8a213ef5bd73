"""The configuration reaches edges in order, whole, and survives everything being down."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import journal_tools as tools
from headwater import limits
from headwater.journal import keys
from headwater.journal.config_feed import (
    ConfigFeed,
    Entry,
    is_seeded,
    publish_config,
    reseed,
)
from headwater.journal.resp import RespClient

short_folder = tools.short_folder
valkey = tools.valkey


class Table:
    """An edge's table, as the feed fills it."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, int], dict[str, Any]] = {}
        self.calls = 0

    def apply(self, kind: str, number: int, value: dict[str, Any] | None) -> None:
        self.calls += 1
        if value is None:
            del self.held[kind, number]
        else:
            self.held[kind, number] = value


@contextlib.asynccontextmanager
async def following(url: str, folder: Path) -> AsyncIterator[tuple[ConfigFeed, Table]]:
    table = Table()
    feed = ConfigFeed(url, folder / "edge" / "config.bin", table.apply)
    await feed.start()
    try:
        yield feed, table
    finally:
        await feed.close()


def link(revision: int, number: int, code: str = "") -> Entry:
    return (revision, "link", number, {"code": code or f"c{number}"})


def test_changes_are_followed(valkey: tools.Server, short_folder: Path) -> None:
    async def job() -> None:
        client = await RespClient.connect(valkey.url)
        async with following(valkey.url, short_folder) as (feed, table):
            await tools.until(lambda: feed.fresh)
            await publish_config(client, [link(1, 1), link(3, 2)])
            await tools.until(lambda: feed.revision == 3)
            assert table.held == {("link", 1): {"code": "c1"}, ("link", 2): {"code": "c2"}}
            await publish_config(client, [(4, "link", 1, None), link(5, 2, "new")])
            await tools.until(lambda: feed.revision == 5)
            assert table.held == {("link", 2): {"code": "new"}}
        await client.close()

    tools.run(job())


def test_publishing_again_changes_nothing(valkey: tools.Server, short_folder: Path) -> None:
    """Killed after the publishing and before it was noted: the same entries come again."""

    async def job() -> None:
        client = await RespClient.connect(valkey.url)
        async with following(valkey.url, short_folder) as (feed, table):
            entries = [link(1, 1), link(2, 1, "second")]
            await publish_config(client, entries)
            await publish_config(client, entries[:1])
            await publish_config(client, [*entries, link(3, 2)])
            await tools.until(lambda: feed.revision == 3)
            assert table.held[("link", 1)] == {"code": "second"}
            assert table.calls == 3
            assert await client.call("XLEN", keys.CONFIG_LOG) == 3
        await client.close()

    tools.run(job())


def test_a_cold_start_with_everything_down(valkey: tools.Server, short_folder: Path) -> None:
    async def job() -> None:
        client = await RespClient.connect(valkey.url)
        await publish_config(client, [link(n, n) for n in range(1, 101)])
        async with following(valkey.url, short_folder) as (feed, first):
            await tools.until(lambda: feed.revision == 100)
        await client.close()
        await tools.in_thread(valkey.kill)
        async with following(valkey.url, short_folder) as (feed, second):
            assert feed.revision == 100
            assert not feed.fresh
            assert second.held == first.held
            assert len(second.held) == 100

    tools.run(job())


def test_the_file_is_written_soon_and_not_only_at_the_end(
    valkey: tools.Server, short_folder: Path
) -> None:
    async def job() -> None:
        client = await RespClient.connect(valkey.url)
        async with following(valkey.url, short_folder) as (feed, _):
            await publish_config(client, [link(1, 1)])
            await tools.until(lambda: feed.revision == 1)
            file = short_folder / "edge" / "config.bin"
            await tools.until(file.exists, 60)
        await client.close()

    tools.run(job())


def test_a_damaged_file_is_not_believed(valkey: tools.Server, short_folder: Path) -> None:
    async def job() -> None:
        client = await RespClient.connect(valkey.url)
        await publish_config(client, [link(1, 1)])
        async with following(valkey.url, short_folder) as (feed, _):
            await tools.until(lambda: feed.revision == 1)
        file = short_folder / "edge" / "config.bin"
        whole = file.read_bytes()
        await tools.in_thread(valkey.kill)
        for damaged in (b"", whole[:20], whole[:-1], whole[:-1] + b"\x00", b"x" + whole[1:]):
            file.write_bytes(damaged)
            async with following(valkey.url, short_folder) as (feed, table):
                assert (feed.revision, table.held) == (0, {})
            file.unlink(missing_ok=True)
        await client.close()

    tools.run(job())


def test_far_behind_reads_everything(
    valkey: tools.Server, short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CONFIG_LOG_ENTRIES", 10)

    async def job() -> None:
        client = await RespClient.connect(valkey.url)
        await reseed(client, [link(1, 1), link(2, 2)])
        async with following(valkey.url, short_folder) as (feed, _):
            await tools.until(lambda: feed.revision == 2)
        changes = [(3, "link", 1, None), *(link(n, n) for n in range(4, 40))]
        await publish_config(client, changes)
        assert await client.call("XLEN", keys.CONFIG_LOG) <= 11
        async with following(valkey.url, short_folder) as (feed, table):
            await tools.until(lambda: feed.revision == 39)
            assert ("link", 1) not in table.held, "a deletion that left the log is still heard"
            assert len(table.held) == 37
        await client.close()

    tools.run(job())


def test_flushall_takes_nothing_away(valkey: tools.Server, short_folder: Path) -> None:
    async def job() -> None:
        client = await RespClient.connect(valkey.url)
        everything = [link(n, n) for n in range(1, 2001)]
        await reseed(client, everything)
        async with following(valkey.url, short_folder) as (feed, table):
            await tools.until(lambda: feed.revision == 2000)
            await client.call("FLUSHALL")
            assert not await is_seeded(client)
            await asyncio.sleep(0.1)
            assert len(table.held) == 2000
            calls = table.calls
            await reseed(client, [*everything[:-1], link(2001, 2000, "changed")])
            assert await is_seeded(client)
            await tools.until(lambda: feed.revision == 2001)
            assert table.calls == calls + 1, "what did not change is not applied again"
            await publish_config(client, [link(2002, 1, "after")])
            await tools.until(lambda: table.held[("link", 1)] == {"code": "after"})
        await client.close()

    tools.run(job())


def test_a_ledger_restored_from_a_backup_is_followed_back(
    valkey: tools.Server, short_folder: Path
) -> None:
    async def job() -> None:
        client = await RespClient.connect(valkey.url)
        await reseed(client, [link(n, n) for n in range(1, 11)])
        async with following(valkey.url, short_folder) as (feed, table):
            await tools.until(lambda: feed.revision == 10)
            await reseed(client, [link(1, 1), link(2, 2, "older")])
            await tools.until(lambda: feed.revision == 2)
            assert table.held == {("link", 1): {"code": "c1"}, ("link", 2): {"code": "older"}}
        await client.close()

    tools.run(job())


def test_objects_that_are_not_whole_delete_nothing(
    valkey: tools.Server, short_folder: Path
) -> None:
    """After a FLUSHALL a change is published before everything is seeded again."""

    async def job() -> None:
        client = await RespClient.connect(valkey.url)
        await reseed(client, [link(1, 1), link(2, 2)])
        async with following(valkey.url, short_folder) as (feed, _):
            await tools.until(lambda: feed.revision == 2)
        await client.call("FLUSHALL")
        await publish_config(client, [link(9, 9)])
        async with following(valkey.url, short_folder) as (feed, table):
            await tools.until(lambda: feed.revision == 9)
            assert set(table.held) == {("link", 1), ("link", 2), ("link", 9)}
        await client.close()

    tools.run(job())


def test_an_object_that_does_not_fit_does_not_stop_the_rest(
    valkey: tools.Server, short_folder: Path
) -> None:
    async def job() -> None:
        client = await RespClient.connect(valkey.url)
        async with following(valkey.url, short_folder) as (feed, table):
            await publish_config(client, [link(1, 1), (2, "link", 2, {}), link(3, 3)])
            real = table.apply

            def apply(kind: str, number: int, value: dict[str, Any] | None) -> None:
                if number == 5:
                    raise KeyError("code")
                real(kind, number, value)

            feed._apply = apply
            await publish_config(client, [link(4, 5), link(5, 6)])
            await tools.until(lambda: feed.revision == 5)
            assert ("link", 6) in table.held
        await client.close()

    tools.run(job())


def test_an_empty_deployment_can_be_seeded(valkey: tools.Server, short_folder: Path) -> None:
    async def job() -> None:
        client = await RespClient.connect(valkey.url)
        await reseed(client, [])
        async with following(valkey.url, short_folder) as (feed, table):
            await tools.until(lambda: feed.fresh)
            assert table.held == {}
            await publish_config(client, [link(1, 1)])
            await tools.until(lambda: feed.revision == 1)
        await client.close()

    tools.run(job())


def test_it_follows_again_after_redis_went_away(valkey: tools.Server, short_folder: Path) -> None:
    async def job() -> None:
        async with following(valkey.url, short_folder) as (feed, _):
            await tools.until(lambda: feed.fresh)
            await tools.in_thread(valkey.kill)
            await tools.in_thread(valkey.start)
            client = await RespClient.connect(valkey.url)
            await publish_config(client, [link(1, 1)])
            await tools.until(lambda: feed.revision == 1)
            await client.close()

    tools.run(job())


def test_a_start_waits_for_what_is_published(valkey: tools.Server, short_folder: Path) -> None:
    async def job() -> None:
        client = await RespClient.connect(valkey.url)
        await reseed(client, [])
        await publish_config(client, [link(number, number) for number in range(1, 1201)])
        await client.close()
        async with following(valkey.url, short_folder) as (feed, table):
            await feed.settled(10)
            assert len(table.held) == 1200

    tools.run(job())


def test_a_start_does_not_wait_for_a_redis_that_is_away(short_folder: Path) -> None:
    async def job() -> None:
        async with following(f"unix://{short_folder}/nobody.sock", short_folder) as (feed, _):
            async with asyncio.timeout(5):
                await feed.settled(60)

    tools.run(job())
