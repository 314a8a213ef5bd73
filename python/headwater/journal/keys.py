"""Names of everything Headwater keeps in Redis, and the header fields that name a frame."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

GENERATION: Final = "hw:generation"
CONFIG_LOG: Final = "hw:config:log"
CONFIG_OBJECTS: Final = "hw:config:objects"
# Set by a whole re-seeding of the objects: while it stands, an object missing from the hash is
# a deleted one and not one that was lost.
CONFIG_SEED: Final = "hw:config:seed"
MATCHER: Final = "hw:matcher"
LOOKUP: Final = "hw:lookup"
# The one field of a stream entry and of an entry of the configuration's log.
FRAME_FIELD: Final = "f"
OBJECT_FIELD: Final = "o"

_HEADER = struct.Struct("<3sBHHQQII")
HEADER_BYTES: Final = _HEADER.size
MAGIC: Final = b"HWF"


def stream(partition: int) -> str:
    """The log of one partition."""
    return f"hw:in:{partition}"


def committed(partition: int) -> str:
    """Hash of producer name to the MessagePack ranges of its committed sequences."""
    return f"hw:committed:{partition}"


def decision(conversion_id: str) -> str:
    """A decision, for a day; `conversion_id` is the public text `cnv_...`."""
    return f"hw:decision:{conversion_id}"


def decided(producer: int) -> str:
    """Channel on which a producer hears what became of its conversions."""
    return f"hw:decided:{producer_name(producer)}"


def daily_key(day: int) -> str:
    """The key of a day's address digests; `day` counts from 1970 in UTC."""
    return f"hw:daily-key:{day}"


def daily_key_swept(day: int) -> str:
    """Set when Redis was asked on this day to write its file without the keys of before."""
    return f"hw:daily-key-swept:{day}"


def producer_name(producer: int) -> str:
    """16 hex digits: a producer in keys, fields and folder names."""
    return f"{producer:016x}"


class FrameName(NamedTuple):
    """What identifies a frame: it is the same in every copy that is ever sent."""

    partition: int
    producer: int
    first_sequence: int
    records: int

    @property
    def last_sequence(self) -> int:
        return self.first_sequence + self.records - 1


def frame_name(frame: bytes) -> FrameName:
    """The name in a frame's header. Raises ValueError when the bytes are no frame.

    The checksum is not looked at: that is for the reader of the log.
    """
    if len(frame) < HEADER_BYTES or not frame.startswith(MAGIC):
        raise ValueError("not a frame")
    _magic, _version, partition, count, producer, first, body_bytes, _crc = _HEADER.unpack_from(
        frame
    )
    if count == 0 or body_bytes != len(frame) - HEADER_BYTES:
        raise ValueError("not a whole frame")
    return FrameName(partition, producer, first, count)
