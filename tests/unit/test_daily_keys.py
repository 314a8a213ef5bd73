"""Keys of address digests: shared by all edges, new each day, gone after two.

A day is moved by the clock the edges are given; Redis keeps its own, so what it will drop is read
from the time it was told.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import journal_tools as tools
from headwater import clock, limits
from headwater.edge.client import Caller, kept
from headwater.edge.network import Networks, digest_of
from headwater.errors import JournalError
from headwater.journal import keys
from headwater.journal.daily_keys import DailyKeys
from headwater.model.records import Network

short_folder = tools.short_folder
valkey = tools.valkey
DAY_S = limits.DAY_MS // 1000
ADDRESS = "203.0.113.77"


class MovedClock:
    """The real time, moved by whole days."""

    def __init__(self) -> None:
        self.days = 0

    def __call__(self) -> int:
        return clock.now_ms() + self.days * limits.DAY_MS

    @property
    def today(self) -> int:
        return self() // limits.DAY_MS


@contextlib.contextmanager
def edges(server: tools.Server, number: int) -> Iterator[tuple[MovedClock, list[DailyKeys]]]:
    moved = MovedClock()
    if moved() % limits.DAY_MS > limits.DAY_MS - 60_000:
        pytest.skip("a minute before midnight: the day would change under the test")
    yield moved, [DailyKeys(server.url, moved) for _ in range(number)]


def network(held: DailyKeys, now_ms: int, address: str = ADDRESS, brand: int = 1) -> Network:
    found = kept(Networks(keys=held), Caller(address), brand, now_ms, denied=False).network
    assert found
    return found


def stored(server: tools.Server) -> dict[int, bytes]:
    with server.client() as client:
        names = client.keys(keys.daily_key(0)[:-1] + "*")
        return {int(name.rpartition(b":")[2]): client.get(name) for name in names}


def test_all_edges_have_the_same_keys(valkey: tools.Server) -> None:
    with edges(valkey, 3) as (moved, held):

        async def main() -> None:
            await asyncio.gather(*(each.refresh() for each in held))

        asyncio.run(main())
        today = moved.today
        for day in (today, today + 1):
            found = {each.key(day) for each in held}
            assert len(found) == 1
            assert found != {None}
        assert held[0].key(today) != held[0].key(today + 1)
        assert all(each.key(today - 1) is None for each in held), "nobody was there yesterday"
        assert stored(valkey) == {day: held[0].key(day) for day in (today, today + 1)}


def test_a_key_is_gone_after_two_days_and_records_meet_until_then(valkey: tools.Server) -> None:
    with edges(valkey, 2) as (moved, (held, other)):
        first = moved.today

        async def main() -> None:
            await held.refresh()
            monday = network(held, moved())
            assert monday.address
            assert monday.address_before is None
            key = held.key(first)

            moved.days = 1
            await asyncio.gather(held.refresh(), other.refresh())
            tuesday = network(held, moved())
            assert tuesday == network(other, moved())
            assert tuesday.address_before == monday.address
            assert tuesday.address not in (monday.address, None)

            moved.days = 2
            await held.refresh()
            assert held.key(first) is None
            wednesday = network(held, moved())
            assert wednesday.address_before == tuesday.address
            assert monday.address not in wednesday
            assert key not in held._held.values()

        asyncio.run(main())
        with valkey.client() as client:
            for day in range(first, first + 4):
                expires_s = client.execute_command("EXPIRETIME", keys.daily_key(day))
                assert expires_s == (day + 2) * DAY_S, "until the end of the next day"


def on_disk(server: tools.Server, key: bytes) -> bool:
    """Whether a key is in any file of the server; a rewrite may take one away meanwhile."""
    found = False
    for path in (server.folder / "appendonlydir").glob("*"):
        with contextlib.suppress(FileNotFoundError):
            found = found or key in path.read_bytes()
    return found


def test_an_expired_key_is_not_on_disk_either(valkey: tools.Server) -> None:
    with edges(valkey, 1) as (moved, (held,)), valkey.client() as client:
        old = bytes(range(200, 232))
        client.set(keys.daily_key(moved.today - 2), old, px=50)
        assert on_disk(valkey, old)
        time.sleep(0.1)
        asyncio.run(held.refresh())
        tools.run(tools.until(lambda: not on_disk(valkey, old)))
        today = held.key(moved.today)
        assert today
        assert on_disk(valkey, today)


def test_while_an_old_key_stands_the_file_is_left_for_later(valkey: tools.Server) -> None:
    with edges(valkey, 1) as (moved, (held,)), valkey.client() as client:
        client.set(keys.daily_key(moved.today - 2), bytes(32), ex=60)
        asyncio.run(held.refresh())
        assert not client.exists(keys.daily_key_swept(moved.today))
        client.delete(keys.daily_key(moved.today - 2))
        asyncio.run(held.refresh())
        assert client.exists(keys.daily_key_swept(moved.today))


def test_redis_may_be_down_at_midnight(valkey: tools.Server) -> None:
    with edges(valkey, 1) as (moved, (held,)):

        async def main() -> None:
            await held.refresh()
            before = network(held, moved())
            valkey.kill()
            moved.days = 1
            with pytest.raises((JournalError, TimeoutError)):
                await held.refresh()
            after = network(held, moved())
            assert after.address_before == before.address
            assert after.address is not None
            moved.days = 2
            with pytest.raises((JournalError, TimeoutError)):
                await held.refresh()
            late = network(held, moved())
            assert late.address is None, "no key, no digest"
            assert late.address_before == after.address
            moved.days = 3
            with pytest.raises((JournalError, TimeoutError)):
                await held.refresh()
            assert held._held == {}

        asyncio.run(main())


def test_redis_that_lost_the_keys_is_given_them_back(valkey: tools.Server) -> None:
    with edges(valkey, 2) as (moved, (held, other)):
        asyncio.run(held.refresh())
        moved.days = 1
        asyncio.run(held.refresh())
        before = dict(held._held)
        with valkey.client() as client:
            client.flushall()
        asyncio.run(held.refresh())
        asyncio.run(other.refresh())
        assert held._held == other._held == before == stored(valkey)


def test_an_edge_takes_over_what_all_others_have(valkey: tools.Server) -> None:
    with edges(valkey, 2) as (moved, (held, other)):
        asyncio.run(held.refresh())
        old = network(held, moved())
        with valkey.client() as client:
            client.flushall()
        asyncio.run(other.refresh())
        changes = held.changes
        networks = Networks(keys=held)
        caller = Caller(ADDRESS)
        assert kept(networks, caller, 1, moved(), denied=False).network == old
        asyncio.run(held.refresh())
        assert held.changes > changes
        assert kept(networks, caller, 1, moved(), denied=False).network == network(other, moved())
        assert network(other, moved()) != old


def test_without_redis_an_edge_starts_and_digests_nothing(short_folder: Path) -> None:
    held = DailyKeys(f"unix://{short_folder}/none.sock")

    async def main() -> None:
        await held.start()
        assert network(held, clock.now_ms())[:2] == (None, None)
        await held.close()

    asyncio.run(main())


def test_keys_are_followed_and_forgotten_at_the_end(valkey: tools.Server) -> None:
    with edges(valkey, 1) as (moved, (held,)):

        async def main() -> None:
            await held.start()
            assert held.key(moved.today)
            await held.close()
            assert held.key(moved.today) is None

        asyncio.run(main())


# ---- digests


class OneKey:
    changes = 0

    def key(self, day: int) -> bytes | None:
        return day.to_bytes(32, "big")


def test_a_digest_is_of_brand_address_and_day() -> None:
    line = bytes([203, 0, 113, 77])
    expected = hashlib.blake2b(
        (7).to_bytes(8, "little") + line, digest_size=8, key=b"k" * 32, person=b"hw-address-v1"
    ).digest()
    assert digest_of(b"k" * 32, line, 7) == expected
    found = {
        digest_of(key, at, brand)
        for key in (b"k" * 32, b"l" * 32)
        for at in (line, line[:3] + b"\x00", bytes(8))
        for brand in (1, 2, 256)
    }
    assert len(found) == 18


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("203.0.113.77", "203.0.113.78", False),
        ("203.0.113.77", "::ffff:203.0.113.77", True),
        ("203.0.113.77", " 203.0.113.77:4711", True),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
    ],
)
def test_who_shares_a_line_shares_a_digest(one: str, other: str, meet: bool) -> None:
    networks = Networks(keys=OneKey())

    def address(text: str) -> bytes | None:
        found = kept(networks, Caller(text), 1, 10 * limits.DAY_MS, denied=False).network
        assert found
        return found.address

    assert (address(one) == address(other)) == meet
    assert len(address(one) or b"") == 8


def test_the_day_is_that_of_acceptance_in_utc() -> None:
    networks = Networks(keys=OneKey())
    midnight = 20_000 * limits.DAY_MS

    def at(now_ms: int) -> Network | None:
        return kept(networks, Caller(ADDRESS), 1, now_ms, denied=False).network

    before, after = at(midnight - 1), at(midnight)
    assert before
    assert after
    assert before.address == after.address_before
    assert at(midnight + limits.DAY_MS - 1) == after


def test_no_address_is_no_network() -> None:
    for text in ("", "unknown", "999.1.1.1"):
        assert kept(Networks(keys=OneKey()), Caller(text), 1, 0, denied=False).network is None
