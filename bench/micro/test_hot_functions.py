"""Micro-benchmarks of what every event passes: `make bench`, or pytest with --benchmark-enable.

Times are of this machine; compare only runs of one machine, or the ratios between rows.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import pytest

from headwater import _core, ids
from headwater.edge.client import Caller, kept
from headwater.edge.network import Networks
from headwater.journal.spool import Spool
from headwater.ledger import matching
from headwater.ledger.engine import open_ledger
from headwater.limits import DAY_MS
from headwater.matcher.partition import decode_outcomes, merge_outcomes
from headwater.model.records import (
    ClickBody,
    Client,
    Kind,
    Network,
    Record,
    Request,
    Source,
    Trust,
    encode,
)

AT_MS = 1_760_000_000_000
FRAME_RECORDS = 64
FRAMES = 64
AGENT = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/141.0.0.0 Safari/537.36"
)

LISTS = "a1b2c3d4e5f6"
NETWORK = Network(b"address1", b"address0", 0x3F00, "DE", LISTS)
BRANDS = '"Chromium";v="141", "Google Chrome";v="141", "Not?A_Brand";v="8"'
REQUEST = Request(
    *(11, True, "document", "navigate", "cross-site", "?1", None),
    *("text/html,application/xhtml+xml,", "de-DE", BRANDS, "?0", '"Windows"'),
)
KEYS = {day: day.to_bytes(32, "big") for day in (AT_MS // DAY_MS - 1, AT_MS // DAY_MS)}


class Keys:
    changes = 0
    key = staticmethod(KEYS.get)


def click(number: int) -> Record:
    body = ClickBody(
        program=1,
        partner=1 + number % 12,
        link=1 + number % 12,
        flags=0,
        identifiers=((8, os.urandom(16)),),
        params={"sub1": f"placement-{number % 40}"},
        client=Client("192.0.2.0/24", AGENT, "https://blog.example/review", NETWORK, REQUEST),
    )
    return Record(Kind.CLICK, ids.event_id(AT_MS), 1, AT_MS, None, Trust.BROWSER, Source.LINK, body)


def frames(count: int, producer: int = 7) -> list[tuple[int, int, bytes]]:
    made = []
    for number in range(count):
        records = [encode(click(n)) for n in range(FRAME_RECORDS)]
        first = number * FRAME_RECORDS + 1
        made.append((AT_MS + number, 0, _core.encode_frame(0, producer, first, records)))
    return made


def test_event_id(benchmark: Any) -> None:
    benchmark(ids.event_id, AT_MS)


def test_event_id_as_text(benchmark: Any) -> None:
    benchmark(ids.event_text, "clk", ids.event_id(AT_MS))


def test_encode_one_click(benchmark: Any) -> None:
    benchmark(encode, click(1))


def test_encode_a_frame_of_64(benchmark: Any) -> None:
    records = [encode(click(n)) for n in range(FRAME_RECORDS)]
    benchmark(_core.encode_frame, 0, 7, 1, records)


def test_identifier_digest(benchmark: Any) -> None:
    benchmark(_core.identifier_digest, b"k" * 32, 1, "customer_id", "customer-8812")


@pytest.mark.parametrize("addresses", [1, 200_000])
def test_what_is_kept_of_a_caller(benchmark: Any, addresses: int) -> None:
    """One visitor again and again, and visitors none of whom was seen lately."""
    networks = Networks(keys=Keys())
    turn = itertools.cycle(
        Caller(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", AGENT, None, REQUEST)
        for n in range(addresses)
    )
    benchmark(lambda: kept(networks, next(turn), 1, AT_MS, denied=False))


def test_spool_append_of_a_frame(benchmark: Any, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 7)
    frame = frames(1)[0][2]
    benchmark(spool.append, 0, frame)
    spool.close()


def test_engine_applies_4096_clicks(benchmark: Any) -> None:
    """64 frames of 64 clicks, outcomes encoded; a new engine each round."""
    entries = frames(FRAMES)
    benchmark.pedantic(
        lambda engine: engine.apply(entries),
        setup=lambda: ((_core.Engine(0),), {}),
        rounds=20,
    )


def test_decode_the_outcomes_of_4096_clicks(benchmark: Any) -> None:
    outcomes = _core.Engine(0).apply(frames(FRAMES))
    benchmark(decode_outcomes, outcomes)


def test_commit_4096_clicks(benchmark: Any, tmp_path: Path) -> None:
    """One transaction: position, 4,096 rows, fsync."""
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    matching.ensure_partitions(ledger, 1)
    (row,) = matching.acquire(ledger, [0], "bench", 0, 10**12)
    position = [row.position]

    def batch() -> tuple[tuple[list[matching.PartitionBatch]], dict[str, Any]]:
        outcomes = decode_outcomes(_core.Engine(0).apply(frames(FRAMES)))
        after = (position[0][0] + 1, 0)
        made = matching.PartitionBatch(
            partition=0,
            epoch=row.epoch,
            generation=row.generation,
            from_position=position[0],
            to_position=after,
            chain_digest=bytes(32),
            time_ms=AT_MS,
            outcomes=merge_outcomes({}, outcomes),
        )
        position[0] = after
        return ([made],), {}

    benchmark.pedantic(
        lambda batches: matching.commit(ledger, batches, lease_until_ms=10**13),
        setup=batch,
        rounds=20,
    )
    ledger.close()


@pytest.mark.parametrize("size", [1, 64])
def test_frame_header(benchmark: Any, size: int) -> None:
    """The check of a frame's checksum."""
    frame = _core.encode_frame(0, 7, 1, [encode(click(n)) for n in range(size)])
    benchmark(_core.frame_header, frame)
