"""The archive through two engines: as it is, and with control records changed on the way.

Both take the same frames at the same positions. Records of other brands, on which no decision
depends, become ticks first: that costs a tenth of what an engine does with them. Of what comes
out, the newest decision of each conversion asked for is kept, packed, and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

import msgpack

from headwater import _core, limits
from headwater.errors import HeadwaterError
from headwater.journal import keys
from headwater.matcher.outcomes import CONVERSION_CREDITS, CONVERSION_ID, CONVERSION_REASON
from headwater.matcher.recovery import Entry, new_engine
from headwater.model.records import ControlBody, ErasureBody, Kind, Record, Source, Trust, encode
from headwater.model.records import decode as decode_record
from headwater.ops.book_again import BookAgain
from headwater.ops.simulate_clicks import Clicks
from headwater.ops.simulate_rows import rows_of
from headwater.ops.simulate_rules import Members, Span, merged

ObjectName = tuple[str, int]
"""Kind and number of an object of the configuration."""

Identifier = tuple[int, bytes]
Reasoned = tuple[Entry, str | None]
"""An archived entry, and the reason of its quarantine."""

# Further positions in the engine's conversion rows.
_PROGRAM, _ORDER, _ACCEPT, _FLAGS, _REVISION = 2, 4, 6, 12, 13


def head_of(kind: Kind) -> bytes:
    """The bytes every record of a kind begins with: its count of fields, kind and id's length."""
    return encode(Record(kind, bytes(16), 0, 0, None, Trust.SERVER, Source.CONSOLE, ()))[:4]


_CONTROL_HEAD: Final = head_of(Kind.CONTROL)
_ERASURE_HEAD: Final = head_of(Kind.ERASURE)


# Where a record's brand begins: after the head and the event's id.
_BRAND_AT: Final = 20
_TICK: Final = encode(Record(Kind.TICK, bytes(16), 0, 0, None, Trust.SERVER, Source.CLOCK, ()))


# ---- Frames --------------------------------------------------------------------------------


def records_of(frame: bytes, head: bytes) -> list[bytes]:
    """The records of a whole frame as on the wire; empty when none begins with `head`.

    Raises ValueError when the frame cannot be read, which the engine would set aside.
    """
    if head not in frame:
        return []
    try:
        _core.frame_header(frame)
    except _core.UnknownVersionError as error:
        raise ValueError("of another version") from error
    records = _split(frame)
    return records if any(record.startswith(head) for record in records) else []


def _split(frame: bytes) -> list[bytes]:
    count = keys.frame_name(frame).records
    body = frame[keys.HEADER_BYTES :]
    unpacker = msgpack.Unpacker(strict_map_key=False)
    unpacker.feed(body)
    records = []
    try:
        for _ in range(count):
            start = unpacker.tell()
            unpacker.skip()
            records.append(body[start : unpacker.tell()])
    except msgpack.UnpackException as error:
        raise ValueError("not a whole record") from error
    return records


class Overlay:
    """Changes members of the control values of some objects, in every revision of them, and puts
    other values in the place of those of others.
    """

    def __init__(
        self,
        changes: Mapping[ObjectName, Members],
        replaced: Mapping[ObjectName, dict[str, Any] | None],
    ) -> None:
        self._changes = changes
        self._replaced = replaced
        self.revisions = 0
        """Control records of which members were changed so far."""

    def rewrite(self, frame: bytes) -> bytes:
        """The frame with its control records changed; the same where there is none to change.

        A frame that cannot be read comes back as it is: both engines set it aside alike.
        """
        try:
            records = records_of(frame, _CONTROL_HEAD)
            changed = [self._record(record) for record in records]
            if changed == records:
                return frame
            _version, partition, _count, producer, first = _core.frame_header(frame)
            made = _core.encode_frame(partition, producer, first, changed)
        except _core.FrameError as error:
            if error.code in ("frame_too_large", "record_too_large"):
                raise HeadwaterError("the changed rules do not fit into their frame") from None
            return frame
        except (ValueError, TypeError):
            return frame
        return made

    def _record(self, raw: bytes) -> bytes:
        if not raw.startswith(_CONTROL_HEAD):
            return raw
        record = decode_record(raw)
        body = ControlBody._make(record.body)
        name = (body.kind, body.number)
        if name in self._replaced:
            return encode(record._replace(body=body._replace(value=self._replaced[name])))
        members = self._changes.get(name)
        if members is None or not isinstance(body.value, dict):
            return raw
        changed = encode(record._replace(body=body._replace(value=merged(body.value, members))))
        self.revisions += changed != raw
        return changed


class OneBrand:
    """Makes ticks of all records but a brand's and the deployment's own.

    Positions, sequences and time stay as they are, and so does all that the brand's state hangs
    on. Frames that the engine would set aside come back as they are.
    """

    def __init__(self, brand: int) -> None:
        self._kept: tuple[bytes, bytes] = (msgpack.packb(0), msgpack.packb(brand))

    def rewrite(self, frame: bytes) -> bytes:
        try:
            _version, partition, _count, producer, first = _core.frame_header(frame)
            records = _split(frame)
            kept = [raw if raw.startswith(self._kept, _BRAND_AT) else _TICK for raw in records]
            if kept == records:
                return frame
            # A bad record of another brand takes the whole frame aside, ours with it.
            _core.encode_frame(partition, producer, first, records)
            return _core.encode_frame(partition, producer, first, kept)
        except (_core.FrameError, _core.UnknownVersionError, ValueError):
            return frame


def controls_frames(partition: int, records: list[bytes]) -> Iterator[bytes]:
    """Frames of control records that the archive no longer holds."""
    # The largest name: no process draws it.
    producer = (1 << 64) - 1
    gathered: list[bytes] = []
    sequence = 1
    for record in records:
        size = sum(map(len, gathered)) + len(record)
        if len(gathered) == limits.FRAME_RECORDS_MAX or size > limits.FRAME_BYTES_MAX:
            yield _core.encode_frame(partition, producer, sequence, gathered)
            sequence, gathered = sequence + len(gathered), []
        gathered.append(record)
    if gathered:
        yield _core.encode_frame(partition, producer, sequence, gathered)


def first_revisions(
    entries: Iterable[Reasoned], names: Collection[ObjectName]
) -> dict[ObjectName, int]:
    """The first revision of each object that the archive holds; none of what it does not hold.

    Reads no further than it has to.
    """
    found: dict[ObjectName, int] = {}
    for (_ms, _seq, frame), reason in entries:
        if reason is not None:
            continue
        for body in _controls_in(frame):
            name = (body.kind, body.number)
            if name in names:
                found.setdefault(name, body.revision)
        if len(found) == len(names):
            break
    return found


def _controls_in(frame: bytes) -> list[ControlBody]:
    try:
        records = records_of(frame, _CONTROL_HEAD)
        found = [decode_record(raw) for raw in records if raw.startswith(_CONTROL_HEAD)]
    except (ValueError, TypeError):
        return []
    return [ControlBody._make(record.body) for record in found]


class Erasures:
    """The identifiers of a brand that erasures on the log named."""

    def __init__(self, brand: int) -> None:
        self._brand = brand
        self.count = 0
        self.identifiers: set[Identifier] = set()

    def look(self, frame: bytes) -> None:
        """Note the erasures in a frame; one that cannot be read is set aside by the engine."""
        try:
            records = records_of(frame, _ERASURE_HEAD)
            for raw in records:
                if raw.startswith(_ERASURE_HEAD):
                    self._note(decode_record(raw))
        except (ValueError, TypeError):
            return

    def _note(self, record: Record) -> None:
        body = ErasureBody._make(record.body)
        if record.brand == self._brand and not body.dry_run:
            self.identifiers |= {(kind, digest) for kind, digest in body.identifiers}
            self.count += 1


# ---- Decisions -----------------------------------------------------------------------------


class Decided(NamedTuple):
    """A conversion as last decided."""

    revision: int
    accept_ms: int
    flags: int
    reason: str | None
    order_id: str | None
    credits: list[tuple[int, bytes | None, int]]
    """Partner number, click id, share in parts per million."""


def unpack(packed: bytes) -> Decided:
    """A kept decision, readable."""
    decided = Decided._make(msgpack.unpackb(packed))
    return decided._replace(
        credits=[(partner, click, share) for partner, click, share in decided.credits]
    )


class Decisions:
    """The newest decision of each conversion of a program that was accepted in a span.

    Equal ones are shared with `like`, the other engine's: most are equal.
    """

    def __init__(self, program: int, span: Span, like: Decisions | None = None) -> None:
        self._program = program
        self._accept_ms = range(span.since_ms, span.until_ms)
        self._like = like.packed if like else {}
        self.packed: dict[bytes, bytes] = {}

    def take(self, outcomes: bytes) -> None:
        """Read the conversions among an engine's outcomes.

        Raises HeadwaterError when there are more than can be compared at once.
        """
        for row in rows_of(outcomes, "conversions"):
            if row[_PROGRAM] != self._program or row[_ACCEPT] not in self._accept_ms:
                continue
            conversion_id = row[CONVERSION_ID]
            before = self.packed.get(conversion_id)
            # An order that was forgotten and comes again keeps its decision, as in the ledger.
            if before is not None and unpack(before).revision >= row[_REVISION]:
                continue
            packed: bytes = msgpack.packb(
                (
                    *(row[_REVISION], row[_ACCEPT], row[_FLAGS]),
                    *(row[CONVERSION_REASON], row[_ORDER], row[CONVERSION_CREDITS]),
                )
            )
            shared = self._like.get(conversion_id)
            self.packed[conversion_id] = shared if shared == packed else packed
            if len(self.packed) > limits.SIMULATED_CONVERSIONS_MAX:
                raise HeadwaterError(
                    f"more than {limits.SIMULATED_CONVERSIONS_MAX} conversions: "
                    "choose a shorter span with --since and --until"
                )


# ---- Engines -------------------------------------------------------------------------------


class Replay:
    """One engine, and what it decided."""

    def __init__(
        self,
        partition: int,
        decisions: Decisions,
        clicks: Clicks | None = None,
        book: BookAgain | None = None,
    ) -> None:
        self.engine = new_engine(partition)
        self.decisions = decisions
        self.clicks = clicks
        """None: no fraud rule is changed, and no click is looked at."""
        self.book = book
        """None: there are no terms, and nothing is owed."""

    def apply(self, run: list[Entry], reason: str | None) -> bytes | None:
        """The outcomes of a run of entries; None of one that is set aside."""
        if reason is None:
            return self.engine.apply(run)
        self.engine.skip(*run[0], reason)
        return None

    def take(self, outcomes: bytes) -> None:
        """Keep what was decided. Raises HeadwaterError when it is more than can be kept."""
        self.decisions.take(outcomes)
        if self.clicks is not None:
            self.clicks.take(outcomes)
        if self.book is not None:
            self.book.take(outcomes)


def prepared(
    entries: Iterable[Reasoned], erasures: Erasures, only: OneBrand | None
) -> Iterator[Reasoned]:
    """Entries as both engines take them; erasures are noted on the way."""
    for entry, reason in entries:
        ms, seq, frame = entry
        if reason is None:
            erasures.look(frame)
            frame = frame if only is None else only.rewrite(frame)
        yield (ms, seq, frame), reason


def batches(entries: Iterable[Reasoned]) -> Iterator[tuple[list[Entry], str | None]]:
    """Entries in runs of bounded size; one that is set aside stands alone with its reason."""
    run: list[Entry] = []
    size = 0
    for entry, reason in entries:
        frame_bytes = len(entry[2])
        is_full = len(run) >= limits.BATCH_FRAMES_MAX or size + frame_bytes > limits.READ_BYTES_MAX
        if run and (reason is not None or is_full):
            yield run, None
            run, size = [], 0
        if reason is None:
            run.append(entry)
            size += frame_bytes
        else:
            yield [entry], reason
    if run:
        yield run, None


def replay_both(
    entries: Iterable[Reasoned], baseline: Replay, changed: Replay, overlay: Overlay
) -> int:
    """Feed entries to both engines, side by side; how many records there were.

    Raises HeadwaterError when an engine gives up.
    """
    records = 0
    try:
        with ThreadPoolExecutor(1, "simulate") as other:
            for run, reason in batches(entries):
                second = run
                if reason is None:
                    second = [(ms, seq, overlay.rewrite(frame)) for ms, seq, frame in run]
                waiting = other.submit(changed.apply, second, reason)
                first = baseline.apply(run, reason)
                records += sum(_records_in(frame) for _, _, frame in run)
                outcomes = waiting.result()
                if first is not None and outcomes is not None:
                    baseline.take(first)
                    changed.take(outcomes)
    except _core.CoreError as error:
        raise HeadwaterError(f"the engine cannot replay this archive: {error}") from error
    return records


def _records_in(frame: bytes) -> int:
    try:
        return keys.frame_name(frame).records
    except ValueError:
        return 0


def replay_one(entries: Iterable[Reasoned], replay: Replay) -> None:
    """Feed further entries to one engine. Raises HeadwaterError as `replay_both`."""
    try:
        for run, reason in batches(entries):
            outcomes = replay.apply(run, reason)
            if outcomes is not None:
                replay.take(outcomes)
    except _core.CoreError as error:
        raise HeadwaterError(f"the engine cannot replay this archive: {error}") from error
