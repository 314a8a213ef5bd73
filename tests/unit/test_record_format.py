"""The wire format, held by a golden file and read with nothing but `struct` and `msgpack`.

Goal: a frame written by any version of this project stays readable, by any tool. Method: the
golden frame holds one record of every kind; it is taken apart here without the core, compared
field by field, put together again with `msgpack`, and accepted by the core unchanged.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import msgpack
import pytest

from headwater import _core
from headwater.model.records import BODIES, Client, Kind, Network, Request

GOLDEN = Path(__file__).parents[1] / "golden" / "frame_v1.bin"
HEADER = struct.Struct("<3sBHHQQII")
PARTITION, PRODUCER, FIRST_SEQUENCE = 513, 0x0123456789ABCDEF, 77
ACCEPT_MS = 1_790_000_000_123
NETWORK = [bytes(range(8)), bytes(range(8, 16)), 8193, "DE", "a1b2c3d4e5f6"]
REQUEST = [
    11,
    True,
    *("document", "navigate", "cross-site", "?1", "prefetch"),
    *("text/html", "de-DE", '"Chromium";v="141"', "?0", '"Linux"'),
]
CLIENT = ["192.0.2.0/24", "Mozilla/5.0", "https://blog.example/", NETWORK, REQUEST]


def sixteen(byte: int) -> bytes:
    return bytes([byte] * 15 + [byte ^ 0xFF])


def head(kind: int, brand: int, claim_ms: int | None, trust: int, source: int) -> list[Any]:
    return [kind, sixteen(kind), brand, ACCEPT_MS + kind, claim_ms, trust, source]


CLICK: dict[str, Any] = {
    "program": 3,
    "partner": 70_000,
    "link": 5_000_000_000,
    "flags": 9,
    "identifiers": [[8, sixteen(0x81)], [7, sixteen(0x71)]],
    "params": {"sub1": "x/y", "utm_source": "neuigkeiten \u00fcber"},
    "client": CLIENT,
}
PAGE_VIEW = {
    "program": 3,
    "url": "https://shop.example/thanks?a=b",
    "flags": 0,
    "identifiers": [[8, sixteen(0x81)]],
    "client": [None, None, None, [None, None, 0, None, None], [0, False, *[None] * 10]],
}
IDENTIFY = {
    "program": 3,
    "flags": 1,
    "identifiers": [[number, sixteen(16 * number)] for number in range(1, 9)],
    "client": [None, None, None, None, None],
}
CONVERSION: dict[str, Any] = {
    "conversion_id": sixteen(0xC0),
    "program": 3,
    "event_type": 12,
    "order_id": "A-1",
    "line": "main",
    "flags": 0,
    "click_id": sixteen(1),
    "identifiers": [[1, sixteen(0x10)]],
    "money": [12_345_678_901, "EUR", 100, -200, None],
    "promo_code": "TEN",
    "customer_status": "new",
    "items": [["sku-1", "Shoe", None, 2, 5_000], [None, None, "gift", 1, None]],
    "params": {"colour": "green"},
    "client": CLIENT,
    "refused": None,
    "started_ms": ACCEPT_MS - 60_000,
}
CONTROL = {
    "object": "program",
    "number": 3,
    "revision": 41,
    "value": {"window_ms": 86_400_000, "model": "last_click", "hosts": ["a.example", True, None]},
}
DECISION = {"action": "approve", "subject": sixteen(0xAC), "params": {"note": "ok"}}
ERASURE = {"scope": "person", "dry_run": True, "force": False, "identifiers": [[3, sixteen(0x30)]]}

EXPECTED: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "click": (head(1, 1, ACCEPT_MS - 5, 2, 1), CLICK),
    "page_view": (head(2, 1, None, 2, 3), PAGE_VIEW),
    "identify": (head(3, 200, None, 1, 4), IDENTIFY),
    "conversion": (head(4, 1, ACCEPT_MS, 1, 5), CONVERSION),
    "control": (head(5, 0, None, 1, 6), CONTROL),
    "decision": (head(6, 1, None, 1, 6), DECISION),
    "erasure": (head(7, 1, None, 1, 6), ERASURE),
    "tick": (head(8, 0, None, 1, 7), {}),
}


def packed(kind: str) -> bytes:
    start, body = EXPECTED[kind]
    record: bytes = msgpack.packb([*start, list(body.values())])
    return record


def crc32c(data: bytes) -> int:
    """CRC-32C, bit by bit: an oracle, not a program."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.fixture(scope="module")
def golden() -> bytes:
    return GOLDEN.read_bytes()


def records_of(frame: bytes) -> list[Any]:
    unpacker = msgpack.Unpacker(strict_map_key=False)
    unpacker.feed(frame[HEADER.size :])
    return list(unpacker)


def test_the_header_is_read_with_struct(golden: bytes) -> None:
    magic, version, partition, count, producer, first, length, crc = HEADER.unpack_from(golden)
    assert (magic, version, partition, count) == (b"HWF", 1, PARTITION, len(EXPECTED))
    assert (producer, first) == (PRODUCER, FIRST_SEQUENCE)
    assert length == len(golden) - HEADER.size
    assert crc == crc32c(golden[:28] + golden[32:])
    assert _core.frame_header(golden) == (1, PARTITION, len(EXPECTED), PRODUCER, FIRST_SEQUENCE)


@pytest.mark.parametrize("kind", EXPECTED)
def test_every_field_of_every_kind_is_read_with_msgpack(golden: bytes, kind: str) -> None:
    start, body = EXPECTED[kind]
    record = records_of(golden)[list(EXPECTED).index(kind)]
    assert record[:7] == start
    fields = _core.record_fields()
    assert dict(zip(fields["head"], record, strict=True))["kind"] == start[0]
    assert dict(zip(fields[kind], record[7], strict=True)) == body


@pytest.mark.parametrize("kind", EXPECTED)
def test_what_msgpack_writes_is_a_valid_record(kind: str) -> None:
    _core.validate_record(packed(kind))


def test_what_msgpack_and_the_core_write_is_the_golden_frame(golden: bytes) -> None:
    unpacked = [msgpack.packb(record) for record in records_of(golden)]
    assert unpacked == [packed(kind) for kind in EXPECTED]
    assert _core.encode_frame(PARTITION, PRODUCER, FIRST_SEQUENCE, unpacked) == golden


def test_the_field_table_names_every_kind_and_part() -> None:
    fields = _core.record_fields()
    parts = {"head", "identifier", "client", "network", "request", "money", "item"}
    assert set(fields) == {*EXPECTED, *parts}
    assert len(fields["client"]) == len(CLIENT)
    assert len(fields["network"]) == len(NETWORK)
    assert len(fields["request"]) == len(REQUEST)
    assert len(fields["money"]) == len(CONVERSION["money"])
    assert len(fields["item"]) == len(CONVERSION["items"][0])
    assert len(fields["identifier"]) == len(CLICK["identifiers"][0])


@pytest.mark.parametrize("kind", [kind for kind in EXPECTED if kind != "tick"])
def test_each_field_is_checked_for_its_type(kind: str) -> None:
    """A float is no value of any field, so one in each place in turn must be refused."""
    start, body = EXPECTED[kind]
    for at in range(len(body)):
        values: list[Any] = list(body.values())
        values[at] = 0.5
        with pytest.raises(_core.FrameError):
            _core.validate_record(msgpack.packb([*start, values]))


def test_the_projects_own_types_have_the_fields_of_the_wire() -> None:
    fields = _core.record_fields()
    shapes = {"client": Client, "network": Network, "request": Request}
    for name, shape in shapes.items():
        assert list(shape._fields) == fields[name]
    for kind, body in BODIES.items():
        if kind is not Kind.CONTROL:
            assert list(body._fields) == fields[kind.name.lower()]


@pytest.mark.parametrize(("part", "size"), [(3, len(NETWORK)), (4, len(REQUEST))])
def test_each_field_of_the_client_is_checked_for_its_type(part: int, size: int) -> None:
    start, body = EXPECTED["click"]
    for at in range(size):
        client: list[Any] = [*CLIENT[:3], list(NETWORK), list(REQUEST)]
        client[part][at] = 0.5
        values = list({**body, "client": client}.values())
        with pytest.raises(_core.FrameError):
            _core.validate_record(msgpack.packb([*start, values]))


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (b"", "truncated"),
        (packed("tick") + b"\xc0", "trailing_bytes"),
        (msgpack.packb([9, *EXPECTED["tick"][0][1:], []]), "unknown_kind"),
        (msgpack.packb([*EXPECTED["tick"][0], [1]]), "wrong_length"),
        (msgpack.packb([*EXPECTED["tick"][0][:5], 3, 7, []]), "unknown_trust"),
        (msgpack.packb([*EXPECTED["tick"][0][:6], 8, []]), "unknown_source"),
    ],
)
def test_a_bad_record_is_refused_with_its_code(record: bytes, code: str) -> None:
    with pytest.raises(_core.FrameError) as refused:
        _core.validate_record(record)
    assert refused.value.code == code
    with pytest.raises(ValueError, match=code):
        _core.encode_frame(0, 1, 1, [record])


def test_damage_and_another_version_are_told_apart(golden: bytes) -> None:
    damaged = golden[:-1] + bytes([golden[-1] ^ 1])
    with pytest.raises(_core.FrameError) as refused:
        _core.frame_header(damaged)
    assert refused.value.code == "bad_checksum"
    with pytest.raises(_core.FrameError) as refused:
        _core.frame_header(golden[:-1])
    assert refused.value.code == "malformed"
    with pytest.raises(_core.UnknownVersionError):
        _core.frame_header(golden[:3] + b"\x02" + golden[4:])
