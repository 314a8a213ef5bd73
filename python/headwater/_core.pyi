"""The deterministic core of Headwater, in Rust: frames, digests and the engine.

Every call that does work releases the interpreter lock; an `Engine` may be used from any thread,
one call at a time.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, Protocol, final, overload

__all__ = [
    "ClickCells",
    "ClickRows",
    "CoreError",
    "Digests",
    "Engine",
    "EnginePoisonedError",
    "FrameError",
    "HotLane",
    "HotListener",
    "HotRecords",
    "IdentifierError",
    "PositionError",
    "SnapshotError",
    "SnapshotView",
    "SubIds",
    "UnknownVersionError",
    "click_origin",
    "conversion_digest",
    "device_of",
    "encode_frame",
    "frame_header",
    "identifier_digest",
    "record_fields",
    "replace_in_frame",
    "signals",
    "split_outcomes",
    "validate_record",
]

class CoreError(Exception):
    """What the core refuses; `code` is a stable reason."""

    code: str

class FrameError(CoreError, ValueError):
    """Bytes that are not a valid frame or record."""

class IdentifierError(CoreError, ValueError):
    """A value that its identifier type cannot have; `code` is fit for a problem's `code`."""

class PositionError(CoreError, ValueError):
    """An entry at or below the engine's position. Nothing was applied."""

class UnknownVersionError(CoreError):
    """A frame version this build cannot read: stop, and upgrade. Nothing was applied."""

class SnapshotError(CoreError):
    """A snapshot that is damaged, of another format version or of another partition."""

class EnginePoisonedError(CoreError):
    """The engine panicked at the entry `ms`, `seq`; the process must exit."""

    ms: int
    seq: int

@final
class HotRecords:
    """Records that the hot lane has made and checked, in one piece."""

    @property
    def size_bytes(self) -> int:
        """Of all of them."""

    def __len__(self) -> int: ...
    def __getitem__(self, at: int, /) -> bytes: ...

def encode_frame(
    partition: int,
    producer: int,
    first_sequence: int,
    records: Sequence[bytes | HotRecords],
) -> bytes:
    """Put 1 to 1024 records into one frame of at most 1 MiB. Each is checked first, but for those
    of the hot lane, which were.

    Record `i` gets the sequence `first_sequence + i`; sequences start from 1. Raises `FrameError`.
    """

def frame_header(frame: bytes) -> tuple[int, int, int, int, int]:
    """Check magic, version, lengths and checksum; return
    (version, partition, count, producer, first_sequence).

    The records themselves are not decoded. Raises `FrameError` or `UnknownVersionError`.
    """

def replace_in_frame(frame: bytes, pairs: list[tuple[bytes, bytes]]) -> bytes:
    """The frame with digests of 16 bytes replaced, each former by its latter, wherever they stand.

    A checksum that was right is made right again; one that was wrong stays wrong.
    """

@final
class Digests:
    """A set of digests of 16 bytes to look for."""

    def __new__(cls, digests: list[bytes]) -> Digests: ...
    def among(self, data: bytes) -> list[bytes]:
        """Those of the set that stand in some bytes, anywhere."""

def validate_record(record: bytes) -> None:
    """Check that bytes are exactly one valid record of at most 32 KiB. Raises `FrameError`."""

def record_fields() -> dict[str, list[str]]:
    """Names of the fields in wire order: of the body of every kind, and of `head`,
    `identifier`, `client`, `network`, `request`, `money` and `item`."""

def identifier_digest(
    key: bytes, brand: int, type_name: str, value: str, default_country: str | None = None
) -> bytes | None:
    """The 16-byte digest of an identifier's value, or None when the value links nobody (empty,
    zeros, `null` and the like).

    `key` has 16 to 64 bytes. `type_name` is one of customer_id, profile_id, email, email_sha256,
    email_sha1, phone, phone_sha256, device_id, external_click_id, visitor_id; `default_country`
    an ISO 3166 code for telephone numbers without a country code. Raises `IdentifierError` with
    the code unknown_identifier_type, invalid_email, invalid_email_sha256, invalid_email_sha1,
    invalid_phone, invalid_phone_sha256, phone_country_missing, phone_country_unknown,
    pii_in_customer_id or invalid_key.

    The construction, for any other implementation: BLAKE2b with a 16-byte digest, keyed,
    personalised `hw-identifier-v1`, over the brand (8 bytes little endian), the type's number
    (1 byte) and the UTF-8 normal form. The normal form of an address and of a telephone number
    (E.164 with `+`) is the lower-case hexadecimal SHA-256.
    """

def conversion_digest(key: bytes, parts: list[str]) -> bytes:
    """The 16-byte digest of the parts that make a conversion one and the same.

    BLAKE2b with a 16-byte digest, keyed (16 to 64 bytes), personalised `hw-conversion-v1`, over
    each part as its length in bytes (4 bytes little endian) and its UTF-8 bytes. Raises
    `IdentifierError` with the code invalid_key.
    """

def click_origin(record: bytes) -> tuple[int, str, str, str]:
    """Link, first sub id, country and device of a click's record; 0 or empty where there is none.
    Raises `FrameError`.
    """

def device_of(agent: str) -> str:
    """`ios`, `android`, `mobile` or `desktop`, by a user agent."""

def signals() -> list[tuple[int, str, str, str, str, str, int, int, int, str, int, str]]:
    """The table of signals of fraud scoring, in the order of their numbers.

    Each is (number, code, family, stage, hardness, mode, weight, low, high, unit, window_s,
    meaning). Family is declared, request, network, velocity, timing, conversion or source; stage
    click, conversion or source; hardness soft, filters, rejects or counts; mode off, shadow, score
    or enforce; unit flag, clicks, conversions, milliseconds, hundredths, ppm, agents or gaps, of
    milliseconds less is worse. Mode, weight, low and high are those where no layer says anything.
    """

@final
class SnapshotView:
    """The state of an engine at one position, shared with it until it moves on."""

    def to_bytes(self) -> bytes:
        """The snapshot: the same bytes for the same state, whatever the way to it."""

    def to_comparable_bytes(self) -> bytes:
        """The same without the places of digests in indexes, which tell of what has been erased
        as well: equal for states that go on alike."""

@final
class Engine:
    """The state machine of one partition: the log's entries in, outcomes out."""

    def __new__(
        cls, partition: int, snapshot: bytes | None = None, panic_on: bytes | None = None
    ) -> Engine:
        """Start empty, or from a snapshot (`SnapshotError` if it cannot be used).

        `panic_on` is a fault hook for tests of crash recovery: applying the event of this id
        panics.
        """

    def apply(self, entries: list[tuple[int, int, bytes]]) -> bytes:
        """Apply entries (stream milliseconds, stream sequence, frame) in log order.

        Returns the outcomes as one MessagePack map of the tables clicks, observations,
        conversions, reports, rejections, controls, others, quarantined, erasures and
        late_evidence (lists of rows), and
        duplicates, ticks and producers (ranges of each producer of the batch, when it ends).
        Raises `PositionError` or `UnknownVersionError` before anything is applied, and
        `EnginePoisonedError` after a panic, now or before.
        """

    def skip(self, ms: int, seq: int, frame: bytes, reason: str) -> None:
        """Pass over an entry that the ledger has quarantined: position, time and chain digest
        advance, its sequences count as seen, nothing is applied. Raises `PositionError`."""

    def resume_chain(self, digest: bytes) -> None:
        """Go on from a chain digest of 32 bytes: the one that this position had before an erasure
        was carried into the archive."""

    def touches(self, brand: int, lookups: bytes, window_ms: int) -> bytes:
        """All clicks in `(at - window, at]` that belong to each lookup's identifiers, over all
        links and programs: what a decision starts from, without the decision.

        `lookups` is their concatenation: time in milliseconds (u64, little endian), count of
        identifiers (u8, at most 20), and for each its type (u8) and digest (16 bytes). The answer
        is for each lookup the count of its clicks and their numbers (u32 each, little endian), the
        newest first to the second. Raises `IdentifierError` with the code truncated_lookup,
        too_many_identifiers or unknown_identifier_type.
        """

    def click_ids(self, brand: int, numbers: bytes) -> bytes:
        """The 16-byte ids of live clicks by their numbers (u32, little endian); zeros for a number
        that no click has. A number is good until the engine moves on. Raises `IdentifierError`
        with the code truncated_lookup.
        """

    def view(self) -> SnapshotView:
        """The state as it is now. Cheap: nothing is copied until the engine changes it."""

    def ranges(self, producer: int) -> list[tuple[int, int]]:
        """The sequences seen of a producer, as inclusive ranges, lowest first."""

    def seen(self) -> dict[int, list[tuple[int, int]]]:
        """The same of every producer that is not forgotten."""

    def stats(self) -> dict[str, int]:
        """Sizes of the state: brands, producers, clicks_live, clicks_gone, orders,
        recent_events, identifiers, programs, enrolments; bot_patterns and
        bot_patterns_skipped, those of the list of crawlers in force; and, in bytes,
        clicks_bytes and graph_bytes."""

    @property
    def position(self) -> tuple[int, int]:
        """Stream id (milliseconds, sequence) of the newest entry applied or skipped."""

    @property
    def time_ms(self) -> int:
        """Engine time: the largest stream millisecond seen."""

    @property
    def chain_digest(self) -> bytes:
        """32 bytes that two engines share only if they took the same frames in the same order
        to the same outcomes, however grouped into calls."""

@final
class ClickRows:
    """The rows of clicks among outcomes, in the order of the ledger's columns. Each is made when it
    is asked for.
    """

    def __new__(cls) -> ClickRows:
        """No rows."""

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int, /) -> tuple[Any, ...]: ...
    @overload
    def __getitem__(self, index: slice, /) -> ClickRows: ...
    def __iter__(self) -> Iterator[tuple[Any, ...]]: ...
    def __add__(self, more: ClickRows, /) -> ClickRows: ...
    def __radd__(self, before: ClickRows, /) -> ClickRows: ...
    def parameters(self) -> Iterator[tuple[Any, ...]]:
        """The rows as a driver takes them soonest: blobs are `bytearray`."""

    def standings(self) -> dict[tuple[int, str], int]:
        """How many rows have the same flags and verdict."""

def split_outcomes(outcomes: bytes) -> tuple[ClickRows, bytes]:
    """What `Engine.apply` gave, as the rows of clicks and the same MessagePack map without them.

    Raises FrameError for other bytes.
    """

@final
class ClickCells:
    """Clicks summed up by rollup cell: program, quarter hour, partner, link, first sub id, country,
    device; 0 or empty where there is none. Sums are in the order of the ledger's columns.
    """

    def __new__(cls) -> ClickCells: ...
    def __len__(self) -> int: ...
    def count(self, rows: ClickRows, known: set[bytes], apart: set[bytes]) -> None:
        """Add rows of clicks but those whose id is in `known`. Those whose id is in `apart`, and
        touches that are no clicks, only name their sub ids. Raises FrameError for a record that is
        not a click's.
        """

    def add(
        self,
        key: tuple[int, int, int, int, str, str, str],
        verdict: str,
        counted: str,
        is_unique: bool,
        count: int,
    ) -> None:
        """Add so many clicks that stand alike to their cell; `count` may be below zero."""

    def programs(self) -> dict[int, int]:
        """The programs that have cells other than zero, each with its first quarter hour."""

    def rows(self) -> list[tuple[Any, ...]]:
        """The cells other than zero by their keys: rows of the ledger's table, of grain 0."""

    def encode(self) -> bytes:
        """The cells other than zero as MessagePack: an array of key and sums for each."""

    def merge(self, encoded: bytes) -> None:
        """Add cells that `encode` gave. Raises FrameError for other bytes."""

    def add_all(self, others: ClickCells) -> None:
        """Add the cells of others that are other than zero."""

@final
class SubIds:
    """The sub ids that have cells of their own, by program, partner and day of UTC; of the days
    that were loaded.
    """

    def __new__(cls) -> SubIds: ...
    def missing(self, cells: ClickCells) -> set[tuple[int, int, int]]:
        """The days of cells that have to be loaded first."""

    def load(self, day: tuple[int, int, int], sub_ids: Sequence[str]) -> None:
        """Take in what a day has."""

    def has(self, day: tuple[int, int, int], sub1: str) -> bool | None:
        """Whether a sub id has cells of its own; None when its day is not loaded."""

    def name(self, cells: ClickCells, count_max: int, rest: str) -> list[tuple[int, int, int, str]]:
        """Give the sub ids of cells cells of their own, up to `count_max` for a day; the others go
        into the cells of `rest`. Those that are new, in the order in which they came up.
        """

    def forget_before(self, day: int) -> None:
        """Give up the days before one, by its number."""

class _HotRules(Protocol):
    """Names and bounds of the ordinary lane: `headwater.edge.hot_links.HotRules`."""

    @property
    def identity_key(self) -> bytes: ...
    @property
    def answer_head(self) -> str: ...
    @property
    def pixel_head(self) -> str: ...
    @property
    def pixel_image(self) -> bytes: ...
    @property
    def parameters(self) -> Sequence[str]: ...
    @property
    def ad_click_ids(self) -> Sequence[str]: ...
    @property
    def reserved_paths(self) -> Set[str]: ...
    @property
    def currencies(self) -> Mapping[str, int]: ...

@final
class HotLane:
    """Requests for links and the pixel, from the bytes of a connection to records and answers.

    What it takes is a strict subset of what the ordinary handlers take, with the same records and
    answers but for ids and times. Used from one thread; the interpreter lock is kept.
    """

    def __new__(cls, rules: _HotRules, proxies: tuple[bytes, bytes], source: object) -> HotLane:
        """A lane that knows no link, no event type, no list and no key yet.

        `proxies` are the trusted proxies' ranges, of IPv4 and of IPv6: first and last address of
        each, one after the other, 4 or 16 bytes in the machine's order. `source` is asked for what
        the lane needs and does not know: `link(host, code)`, `event(program_code, code)`,
        `site(host)`, `country(address)`, `random(count)`; see `headwater.edge.hot_links.HotSource`.
        """

    def set_lists(
        self,
        loaded_flags: int,
        version: str | None,
        ranges: Sequence[tuple[int, bytes, bytes]],
        crawlers: Sequence[str],
        has_countries: bool,
    ) -> None:
        """Put address lists in force: the bits that tell which there are, their version, for each
        a bit and its ranges as `proxies`, the names of crawlers, whether to ask for countries.
        Raises ValueError when there are too many names.
        """

    def set_keys(self, day: int, today: bytes | None, before: bytes | None) -> None:
        """Put the keys of a day (since 1970, UTC) and of the day before in force."""

    def set_domains(self, hosts: Sequence[str]) -> None:
        """Take the hosts of tracking domains, and forget every link."""

    def forget(self, number: int, code: str | None) -> None:
        """Forget a link that changed, and what is held under its new code, in lower case."""

    def forget_all(self) -> None:
        """Forget every link and every event type: each is asked for at its next request."""

    def take(
        self, data: bytes, peer: str, now_ms: int, date: str
    ) -> tuple[int, bytes, int, bytes, bool, str, str | None] | None:
        """Take the request at the start of `data`, if it is plainly for a link or the pixel.

        `peer` is the address at the other end of the socket, `date` the value of the header. None:
        it is not plainly one, or not whole. Else how many bytes were taken, the answer, the
        record's partition, the record, whether the request asks to close the connection, what it
        came to (`click`, `conversion` or `rejection`), and of a rejection the reason. Whatever the
        source raises is raised here, and nothing taken.
        """

@final
class HotListener:
    """Listening sockets of one edge process, and the connections that came by them for as long as
    all that comes on these is the hot lane's and their answers are read.

    It never waits: the event loop watches `fileno()` and asks for a turn when it is readable. Times
    are milliseconds of a monotonic clock but for `now_ms`. Used from one thread.
    """

    def __new__(
        cls,
        proxies: tuple[bytes, bytes],
        connections_max: int,
        per_address_max: int,
        head_ms: int,
        keep_alive_ms: int,
    ) -> HotListener:
        """One that listens to nothing. It has at most `connections_max` connections, those for the
        ordinary lane among them, and of one address (of IPv6 a /64) `per_address_max`, but of
        `proxies`, as for `HotLane`, any number. One on which nothing came is closed after
        `head_ms`, an idle one after `keep_alive_ms`, or after `head_ms` where there are many.
        Raises OSError.
        """

    def listen(self, address: str, port: int, backlog: int) -> int:
        """Listen on an IP address, beside other processes that do; the port it got. Raises OSError,
        ValueError.
        """

    def fileno(self) -> int:
        """A descriptor that is readable when there is something to do."""

    def turn(
        self, lane: HotLane, now_ms: int, date: str, monotonic_ms: int
    ) -> tuple[
        list[tuple[int, int, HotRecords, str, str | None]],
        list[tuple[int, str, bytes, bool, bytes]],
        int,
        list[Exception],
        bool,
    ]:
        """Take connections, read what came, and offer it to the lane, of each one request.

        Batches: number, partition, records, what each request came to and why it is refused;
        `answer` is to be told of each. Connections for the ordinary lane: descriptor, address,
        bytes to be written first, whether it ends then, bytes that were read. How many
        connections were refused. What went wrong in the lane. Whether another turn is wanted
        though nothing may come. Raises OSError.
        """

    def answer(self, number: int, monotonic_ms: int) -> bool:
        """A batch is safe or given up: its answers leave. Whether a turn is wanted."""

    def expire(self, monotonic_ms: int) -> None:
        """Close what was idle for too long; to be called from time to time."""

    def release(self, peer: str) -> None:
        """A connection of this address that was for the ordinary lane has ended."""

    def drain(self) -> None:
        """Take nothing more; each connection closes with its answer."""

    @property
    def pending(self) -> int:
        """Connections whose answers wait."""

    def close(self) -> None:
        """Close every connection."""
