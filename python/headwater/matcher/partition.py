"""One partition in the hands of its owner: engine, archive file, quarantine list, position."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgpack

from headwater import _core, clock, faults, ids, limits
from headwater.journal import keys
from headwater.journal.archive import ArchiveWriter
from headwater.ledger.matching import PartitionBatch, PartitionRow, Position, SegmentFact
from headwater.matcher.recovery import Entry, archive_folder
from headwater.model.records import Kind, Record, Source, Trust, encode


class Partition:
    """One partition's engine, archive and position, for its one owner."""

    def __init__(
        self,
        row: PartitionRow,
        engine: _core.Engine,
        data: Path,
        quarantined: dict[Position, str],
    ) -> None:
        self.number = row.partition
        self.epoch = row.epoch
        self.generation = row.generation
        self.engine = engine
        self.position: Position = row.position
        """What the ledger has committed; the engine may be a batch further."""
        self._quarantined = quarantined
        self._archive = ArchiveWriter(archive_folder(data, row.partition), row.partition, row.epoch)
        self._producer = ids.producer_id()
        self._ticks = 0
        self.ticked_s = clock.monotonic_s()
        self.snapshot_position: Position = row.position
        self.snapshot_s = clock.monotonic_s()

    def apply(self, entries: list[Entry]) -> PartitionBatch:
        """Run entries through engine and archive; what is to be committed for them."""
        from_position = self.engine.position
        merged: dict[str, Any] = {}
        for run, reason in self._runs(entries):
            if reason is None:
                merge_outcomes(merged, decode_outcomes(self.engine.apply(run)))
            else:
                self.engine.skip(*run[0], reason)
                merge_outcomes(merged, {"producers": _producer_of(run[0][2])})
            for ms, seq, frame in run:
                self._archive.append(ms, seq, frame, reason)
        faults.reach("matcher.applied")
        batch = PartitionBatch(
            partition=self.number,
            epoch=self.epoch,
            generation=self.generation,
            from_position=from_position,
            to_position=self.engine.position,
            chain_digest=self.engine.chain_digest,
            time_ms=self.engine.time_ms,
            outcomes=merged or merge_outcomes({}, {}),
            archive=[SegmentFact(**fact) for fact in self._archive.sync()],
        )
        faults.reach("matcher.archived")
        return batch

    def committed(self, batch: PartitionBatch) -> None:
        self.position = batch.to_position

    def _runs(self, entries: list[Entry]) -> list[tuple[list[Entry], str | None]]:
        """Entries cut at quarantined frames, which stand alone with their reason."""
        if not self._quarantined:
            return [(entries, None)]
        runs: list[tuple[list[Entry], str | None]] = []
        open_run: list[Entry] = []
        for entry in entries:
            reason = self._quarantined.get(entry[:2])
            if reason is None:
                open_run.append(entry)
                continue
            if open_run:
                runs.append((open_run, None))
                open_run = []
            runs.append(([entry], reason))
        if open_run:
            runs.append((open_run, None))
        return runs

    def tick_frame(self) -> bytes:
        """A frame that says only that time went on."""
        self._ticks += 1
        now_ms = clock.now_ms()
        record = Record(
            Kind.TICK, ids.event_id(now_ms), 0, now_ms, None, Trust.SERVER, Source.CLOCK, ()
        )
        return _core.encode_frame(self.number, self._producer, self._ticks, [encode(record)])

    def control_frames(self, records: list[bytes]) -> list[bytes]:
        """Frames for configuration records that must be on the log again."""
        frames = []
        for start in range(0, len(records), limits.FRAME_RECORDS_MAX):
            chunk = records[start : start + limits.FRAME_RECORDS_MAX]
            first = self._ticks + 1
            self._ticks += len(chunk)
            frames.append(_core.encode_frame(self.number, self._producer, first, chunk))
        return frames

    def close(self) -> None:
        self._archive.close()


def _producer_of(frame: bytes) -> dict[int, None]:
    """Who is told that the frame is settled: nobody when it does not say whose it is."""
    try:
        return {keys.frame_name(frame).producer: None}
    except ValueError:
        return {}


def decode_outcomes(encoded: bytes) -> dict[str, Any]:
    """What an engine's apply gave: rows as tuples, which the ledger's driver takes as they are, and
    clicks as rows that are made when they are asked for.
    """
    clicks, rest = _core.split_outcomes(encoded)
    outcomes: dict[str, Any] = msgpack.unpackb(rest, strict_map_key=False, use_list=False)
    outcomes["clicks"] = clicks
    return outcomes


def merge_outcomes(into: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Outcomes of one apply added to those of the batch so far."""
    clicks = into.setdefault("clicks", _core.ClickRows())
    if "clicks" in more:
        into["clicks"] = clicks + more["clicks"]
    for key in (
        "observations",
        "conversions",
        "reports",
        "rejections",
        "controls",
        "erasures",
        "late_evidence",
        "decision_revised",
        "others",
        "quarantined",
        "steps",
    ):
        into.setdefault(key, []).extend(more.get(key, ()))
    for key in ("duplicates", "ticks"):
        into[key] = into.get(key, 0) + more.get(key, 0)
    into.setdefault("producers", {}).update(more.get("producers", {}))
    return into
