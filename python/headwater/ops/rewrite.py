"""`headwater rewrite`: carry erasures into what was written before them.

Every erased digest gets a random pseudonym in its place, in the archive's frames up to the erasure
and in the ledger's rows: who was linked to whom stays, who it was does not. Two engines show that
nothing is decided otherwise by it: one takes the frames as they were, one as they will be. Where
the chain digest is another, the archive keeps the former with the frame, so that a replay goes on
as the ledger did; these frames are what `headwater verify` lists as touched.
"""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from headwater import clock, faults, limits
from headwater.config import Config
from headwater.errors import HeadwaterError
from headwater.journal import redis_server
from headwater.journal.archive import (
    ArchivedEntry,
    archive_held,
    rewrite_segment,
    sync_directory,
)
from headwater.ledger import matching, rewriting
from headwater.ledger.engine import Ledger, open_ledger
from headwater.ledger.matching import PartitionRow, Position, SegmentFact
from headwater.ledger.rewriting import NewSegment, Pseudonym, Rewrite, WaitingErasure
from headwater.matcher.recovery import archive_folder, archived_entries, snapshot_folder
from headwater.model.records import IdentifierType
from headwater.ops.rewrite_replay import Found, Pseudonyms, decide_both, draw, search

log = logging.getLogger(__name__)

_REWRITTEN: Final = "rewritten"


class Done(NamedTuple):
    """What came of a run."""

    erasures: int
    waiting: int


def run_rewrite(settings: Config, *, now: bool) -> Done:
    """Carry what is due into archive and ledger; with `now` do not wait until it is.

    Raises HeadwaterError when another does it already, ArchiveCorrupt when the archive is not all
    there, LedgerError when the ledger fails.
    """
    with _alone(settings.data):
        ledger = open_ledger(settings.effective_ledger_url)
        try:
            done = _run(ledger, settings.data, now=now)
            if done:
                _compact(ledger, settings)
            return Done(done, len(rewriting.waiting_erasures(ledger)))
        finally:
            ledger.close()


def _run(ledger: Ledger, data: Path, *, now: bool) -> int:
    done = 0
    for rewrite in rewriting.unfinished_rewrites(ledger):
        _complete(ledger, data, rewrite)
        done += len(rewrite.erasures)
    waiting = rewriting.waiting_erasures(ledger)
    oldest_ms = min((each.created_ms for each in waiting), default=clock.now_ms())
    if not now and clock.now_ms() - oldest_ms < limits.ERASURE_WAIT_MS:
        return done
    for row in matching.partition_rows(ledger):
        erasures = [each for each in waiting if each.partition == row.partition]
        if erasures:
            done += Pass(ledger, data, row, erasures).run()
    return done


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """Only one at a time on a data folder."""
    data.mkdir(parents=True, exist_ok=True)
    with (data / "rewrite.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise HeadwaterError(f"another rewrite runs on {data}") from None
        yield


def _compact(ledger: Ledger, settings: Config) -> None:
    """What was replaced is in no file beside the ledger, nor in that of Redis, any more."""
    if not rewriting.fold_in(ledger):
        log.warning("the ledger is read meanwhile: its log holds what was replaced until it is not")
    if not redis_server.write_file_anew(settings.effective_redis_url):
        log.warning("redis not reached: its file may hold what was erased until it is written anew")


class Pass:
    """The erasures of one partition that can be carried into its archive now."""

    def __init__(
        self, ledger: Ledger, data: Path, row: PartitionRow, waiting: Sequence[WaitingErasure]
    ) -> None:
        self._ledger = ledger
        self._data = data
        self._row = row
        self._folder = archive_folder(data, row.partition)
        self._waiting = waiting

    def run(self) -> int:
        """How many erasures were carried into archive and ledger."""
        self._forget_unlisted()
        up_to = self._finished_until()
        digests = {digest for each in self._waiting for digest in _digests(each)}
        entries = archived_entries(self._ledger, self._data, self._row.partition, (0, 0), up_to)
        found = search(entries, {each.event_id for each in self._waiting}, digests)
        chosen = [each for each in self._waiting if each.event_id in found.positions]
        chosen.sort(key=lambda each: found.positions[each.event_id])
        return self._attempt(chosen, found) if chosen else 0

    def _forget_unlisted(self) -> None:
        """Remove what an interrupted pass had written and not listed."""
        listed = {fact.name for fact in self._manifest()}
        for path in self._folder.glob(f"*.{_REWRITTEN}-*.archive"):
            if path.name not in listed:
                path.unlink()

    def _manifest(self) -> list[SegmentFact]:
        return matching.archive_manifest(self._ledger, self._row.partition)

    def _finished_until(self) -> Position:
        """Where the first file begins that is still written to, or the newest snapshot stands: a
        start must not have to replay all of the archive for want of one.
        """
        until: Position = (0, 0)
        for segment in self._manifest():
            epoch = int(segment.name.partition("-")[0])
            is_held = epoch > self._row.epoch or (epoch == self._row.epoch and self._row.owner)
            if is_held and not segment.sealed:
                break
            until = segment.last
        snapshots = matching.snapshot_facts(self._ledger, self._row.partition)
        return min(until, snapshots[0].position) if snapshots else until

    def _attempt(self, chosen: Sequence[WaitingErasure], found: Found) -> int:
        """Carry erasures into archive and ledger; those that cannot be without another decision
        are tried in halves, and left when they stand alone.
        """
        named = self._named(chosen, found)
        last = max(found.positions[each.event_id] for each in chosen)
        until_ms = self._until_ms(chosen, named)
        for _ in range(limits.PSEUDONYM_DRAWS_MAX):
            groups = [[key for key in each.identifiers if key[1] in named] for each in chosen]
            pseudonyms = Pseudonyms(draw(groups), named)
            touched = self._touched(pseudonyms, found.first(named), last)
            if touched is not None:
                rows = [
                    Pseudonym(digest, pseudonym, until_ms[digest])
                    for digest, pseudonym in pseudonyms.pairs.items()
                ]
                events = [each.event_id for each in chosen]
                self._carry(rows, events, pseudonyms, touched, last)
                return len(chosen)
        if len(chosen) == 1:
            fields = {"partition": self._row.partition, "position": last}
            log.error("erasure not carried into the archive", extra={"fields": fields})
            return 0
        half = len(chosen) // 2
        return self._attempt(chosen[:half], found) + self._attempt(chosen[half:], found)

    def _named(self, chosen: Iterable[WaitingErasure], found: Found) -> dict[bytes, Position]:
        """The digests to replace, each with the place of its last erasure. What the configuration
        had named by then is a partner's own, and stays.
        """
        named: dict[bytes, Position] = {}
        for each in chosen:
            for digest in _digests(each):
                named[digest] = max(found.positions[each.event_id], named.get(digest, (0, 0)))
        return {
            digest: last
            for digest, last in named.items()
            if found.configured.get(digest, last) >= last
        }

    def _until_ms(
        self, chosen: Sequence[WaitingErasure], named: dict[bytes, Position]
    ) -> dict[bytes, int]:
        """Up to which accept time rows name by each digest whom these erasures forgot. One that is
        erased again later is known by it until then.
        """
        noted = rewriting.erased_until(self._ledger, named)
        later = {
            digest for each in self._waiting if each not in chosen for digest in _digests(each)
        }
        return {
            digest: last[0] if digest in later else noted.get(digest, last[0])
            for digest, last in named.items()
        }

    def _touched(
        self, pseudonyms: Pseudonyms, first: Position | None, last: Position
    ) -> dict[Position, bytes] | None:
        """The frames after which the chain digest is another, each with what it was; None: another
        decision came out.
        """
        if first is None:
            return {}

        def entries(after: Position) -> Iterator[ArchivedEntry]:
            return archived_entries(self._ledger, self._data, self._row.partition, after, last)

        return decide_both(self._row.partition, entries, pseudonyms, first)

    def _carry(
        self,
        rows: Sequence[Pseudonym],
        events: Sequence[bytes],
        pseudonyms: Pseudonyms,
        touched: dict[Position, bytes],
        last: Position,
    ) -> None:
        segments = list(self._rewritten(pseudonyms, touched))
        faults.reach("rewrite.written")
        snapshots = matching.snapshot_facts(self._ledger, self._row.partition)
        dropped = [
            *((str(self._folder), segment.former) for segment in segments),
            *(
                (str(snapshot_folder(self._data, self._row.partition)), fact.name)
                for fact in snapshots
                if fact.position < last
            ),
        ]
        rewrite = Rewrite(self._row.partition, events, rows, dropped)
        with archive_held(self._data, alone=True):
            rewriting.begin_rewrite(self._ledger, rewrite, segments, last)
            faults.reach("rewrite.listed")
            _remove(dropped)
        _complete(self._ledger, self._data, rewrite)

    def _rewritten(
        self, pseudonyms: Pseudonyms, touched: dict[Position, bytes]
    ) -> Iterator[NewSegment]:
        """The files with touched frames, written anew."""
        positions = sorted(touched)
        for segment in self._manifest():
            here = [each for each in positions if segment.first <= each <= segment.last]
            if not here:
                continue
            name = _next_name(segment.name)
            length = rewrite_segment(
                self._folder / segment.name,
                segment.length,
                self._folder / name,
                lambda entry: pseudonyms.in_entry(entry)._replace(
                    chain_digest=touched.get(entry.position, entry.chain_digest)
                ),
            )
            yield NewSegment(segment.name, name, length)


def _digests(erasure: WaitingErasure) -> Iterator[bytes]:
    """A click's id is no digest of anybody's: it is random, and what was paid for hangs on it."""
    return (digest for kind, digest in erasure.identifiers if kind != IdentifierType.CLICK)


def _next_name(name: str) -> str:
    stem = name.removesuffix(".archive")
    stem, _, count = stem.partition(f".{_REWRITTEN}-")
    return f"{stem}.{_REWRITTEN}-{int(count or 0) + 1}.archive"


def _remove(dropped: Iterable[tuple[str, str]]) -> None:
    for folder, name in dropped:
        (Path(folder) / name).unlink(missing_ok=True)
    for folder in {folder for folder, _name in dropped}:
        if Path(folder).is_dir():
            sync_directory(Path(folder))


def _complete(ledger: Ledger, data: Path, rewrite: Rewrite) -> None:
    """What is left to do once the archive's list has the new files."""
    with archive_held(data, alone=True):
        _remove(rewrite.dropped)
    faults.reach("rewrite.removed")
    if rewrite.pseudonyms:
        until_ms = max(each.until_ms for each in rewrite.pseudonyms)
        pseudonyms = Pseudonyms(
            {each.digest: each.pseudonym for each in rewrite.pseudonyms},
            {each.digest: (each.until_ms, 0) for each in rewrite.pseudonyms},
        )
        rewriting.rewrite_rows(ledger, until_ms, pseudonyms.in_row, pseudonyms.in_set_aside)
    faults.reach("rewrite.rows")
    rewriting.finish_rewrite(ledger, rewrite)
    faults.reach("rewrite.finished")
    fields = {"partition": rewrite.partition, "erasures": len(rewrite.erasures)}
    log.info("erasures carried into archive and ledger", extra={"fields": fields})
