"""`headwater simulate`: the archive again, under other rules, and whose credit would move.

The rules are in force from the beginning of the replay; conversions accepted in the span asked
for are compared. Nothing is written: the ledger is opened for reading alone, the archive is only
read, and the system may run meanwhile.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgpack
from rich.console import Console
from rich.progress import Progress

from headwater import clock, limits
from headwater.book.settings import OBJECTS
from headwater.config import Config
from headwater.errors import ConfigError, HeadwaterError, ReplayMismatch
from headwater.journal.archive import archive_held
from headwater.ledger import matching, outbox, queries, values
from headwater.ledger.engine import Ledger, open_ledger
from headwater.ledger.matching import PartitionRow
from headwater.ledger.schema import brands, partners, programs
from headwater.ledger.terms import has_terms
from headwater.matcher.recovery import archived
from headwater.ops import simulate_report
from headwater.ops.simulate_clicks import Clicks, compare_clicks
from headwater.ops.simulate_compare import LedgerCheck, check_ledger, compare, note_repaid
from headwater.ops.simulate_money import Asked, Books, compare_money, scratch_books
from headwater.ops.simulate_replay import (
    Decisions,
    Erasures,
    ObjectName,
    OneBrand,
    Overlay,
    Reasoned,
    Replay,
    controls_frames,
    first_revisions,
    prepared,
    replay_both,
    replay_one,
)
from headwater.ops.simulate_report import Report, RuleSet
from headwater.ops.simulate_rules import (
    FRAUD,
    MODELS,
    Members,
    Rules,
    Span,
    idle_members,
    merged,
    parse_rules,
    parse_span,
    ramp_faults,
)
from headwater.ops.simulate_terms import Trial, read_trial

Row = Mapping[str, Any]

# A terminal narrower than this would break the partners' table; a pipe has no width.
_REPORT_COLUMNS: Final = 140


class Plan(NamedTuple):
    """What is simulated."""

    program: Row
    brand: Row
    rules: Rules
    span: Span
    in_force: Mapping[ObjectName, Members]
    """Control values as the ledger has them now, of the objects the rules change."""
    changes: Mapping[ObjectName, Members]
    names: Mapping[ObjectName, str]
    """What these objects are called in the report."""
    trial: Trial | None
    """Terms in the place of those that were."""


def run_simulate(
    settings: Config,
    *,
    program: str,
    since: str,
    until: str | None,
    changes: list[str],
    terms: Path | None,
    as_json: bool,
    csv: Path | None,
) -> int:
    """Print what would change; 0 when it was worked out.

    Raises ConfigError with every fault of what was asked, HeadwaterError when it cannot be done.
    """
    if csv is not None and not csv.absolute().parent.is_dir():
        raise ConfigError([f"--csv: there is no folder {csv.absolute().parent}"])
    ledger = open_ledger(settings.effective_ledger_url, read_only=True)
    try:
        plan = make_plan(ledger, program, since, until, changes, terms)
        screen = Console(stderr=True)
        with (
            archive_held(settings.data),
            Progress(console=screen, transient=True, disable=not screen.is_terminal) as progress,
        ):
            report = simulate(ledger, settings.data, plan, _watched(progress))
    finally:
        ledger.close()
    if as_json:
        simulate_report.write_json(report, sys.stdout)
    else:
        out = Console()
        width = out.width if out.is_terminal else max(out.width, _REPORT_COLUMNS)
        simulate_report.print_report(report, Console(width=width))
    if csv is not None:
        try:
            simulate_report.write_csv(report, csv)
        except OSError as error:
            raise HeadwaterError(f"{csv}: {error.strerror}") from error
    return 0


Watch = Callable[[Iterable[Reasoned], int], Iterator[Reasoned]]
"""Passes entries on and shows how far they are, of so many bytes."""


def _watched(progress: Progress) -> Watch:
    def watch(entries: Iterable[Reasoned], total_bytes: int) -> Iterator[Reasoned]:
        task = progress.add_task("replaying", total=total_bytes)
        for entry, reason in entries:
            progress.advance(task, len(entry[2]))
            yield entry, reason

    return watch


# ---- The plan ------------------------------------------------------------------------------


def make_plan(
    ledger: Ledger,
    code: str,
    since: str,
    until: str | None,
    changes: list[str],
    terms: Path | None = None,
) -> Plan:
    """Read what is asked against the ledger. `terms`: a file of terms to try.

    Raises ConfigError with every fault.
    """
    faults: list[str] = []
    program = _program(ledger, code)
    if program is None:
        faults.append(f"--program: there is no program {code!r}")
    event_types = {} if program is None else _event_types(ledger, program["id"])
    rules, span, trial = Rules({}, {}), Span(0, 0), None
    if not changes and terms is None:
        faults.append("--set: at least one KEY=VALUE is needed, or --terms")
    try:
        rules = parse_rules(changes, list(event_types))
    except ConfigError as error:
        faults += error.faults
    try:
        span = parse_span(since, until, clock.now_ms())
    except ConfigError as error:
        faults += error.faults
    try:
        trial = None if terms is None or program is None else read_trial(ledger, program, terms)
    except ConfigError as error:
        faults += error.faults
    brand = None if program is None else queries.object_row(ledger, brands, program["brand_id"])
    if program is None or brand is None or faults:
        raise ConfigError(faults)
    of_program = ("program", program["id"])
    in_force: dict[ObjectName, Members] = {of_program: values.program_change(program).control}
    wrong = ramp_faults(merged(in_force[of_program], rules.program).get(FRAUD, {}))
    if wrong:
        raise ConfigError([f"--set {FRAUD}.rules.{fault}" for fault in wrong])
    changed: dict[ObjectName, Members] = {of_program: rules.program}
    names: dict[ObjectName, str] = {of_program: "program"}
    for event, members in rules.event_types.items():
        name = ("event_type", event_types[event]["id"])
        in_force[name] = values.event_type_change(event_types[event], brand["id"]).control
        changed[name] = members
        names[name] = f"event type {event}"
    return Plan(program, brand, rules, span, in_force, changed, names, trial)


def _program(ledger: Ledger, code: str) -> Row | None:
    found = queries.object_page(ledger, programs, programs.c.code == code, count=1)
    return found[0] if found else None


def _event_types(ledger: Ledger, program: int) -> dict[str, Row]:
    """A program's event types by code."""
    found: dict[str, Row] = {}
    after = 0
    while True:
        page = queries.event_type_page(ledger, program, after=after, count=limits.PAGE_ROWS_MAX)
        found.update((row["code"], row) for row in page)
        if len(page) < limits.PAGE_ROWS_MAX:
            return found
        after = page[-1]["id"]


def rule_sets(plan: Plan) -> tuple[RuleSet, RuleSet]:
    """The rules as they are and as they would be."""
    after = {name: merged(value, plan.changes[name]) for name, value in plan.in_force.items()}
    trial = plan.trial
    return (
        _rule_set(plan, plan.in_force, {trial.name: trial.before} if trial else {}),
        _rule_set(plan, after, {trial.name: trial.after} if trial else {}),
    )


def _rule_set(
    plan: Plan, of_objects: Mapping[ObjectName, Members], terms: Mapping[str, Members]
) -> RuleSet:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(of_objects):
        digest.update(msgpack.packb((name, dict(of_objects[name]))))
    for owner, value in terms.items():
        digest.update(msgpack.packb((owner, json.dumps(value, sort_keys=True))))
    named = {plan.names[name]: dict(value) for name, value in of_objects.items()}
    return RuleSet(digest.hexdigest(), {**named, **terms})


# ---- The simulation ------------------------------------------------------------------------


def simulate(ledger: Ledger, data: Path, plan: Plan, watch: Watch | None = None) -> Report:
    """Replay up to the ledger's position and compare. Raises HeadwaterError."""
    with contextlib.ExitStack() as stack:
        books = None
        if plan.trial is not None or has_terms(ledger, plan.program["id"]):
            books = stack.enter_context(scratch_books(ledger, plan.brand["partition"]))
        return _simulate(ledger, data, plan, watch, books)


def _simulate(
    ledger: Ledger, data: Path, plan: Plan, watch: Watch | None, books: Books | None
) -> Report:
    started_s = clock.monotonic_s()
    program = plan.program["id"]
    row = _partition(ledger, plan.brand["partition"])
    before, after = rule_sets(plan)
    clicks, clicks_after = _clicks(plan), _clicks(plan)
    decisions = Decisions(program, plan.span)
    like = Decisions(program, plan.span, like=decisions)
    baseline = Replay(row.partition, decisions, clicks, books and books.before)
    changed = Replay(row.partition, like, clicks_after, books and books.after)
    overlay = Overlay(plan.changes, plan.trial.replaced if plan.trial else {})
    erasures = Erasures(plan.brand["id"])
    left_out = _left_out(ledger, data, plan, row)
    entries = _entries(ledger, data, plan, row, left_out, watch)
    only = _only_brand(ledger, plan)
    records = replay_both(prepared(entries, erasures, only), baseline, changed, overlay)
    _require_position(baseline, row)
    notes = _notes(plan, before, after, overlay, bool(left_out))
    is_whole = not left_out and plan.trial is None and only is None
    if is_whole and baseline.engine.chain_digest != row.chain_digest:
        notes.append("warning: the archive replays to another chain digest than the ledger's")
    comparison = compare(decisions, like)
    judged = compare_clicks(clicks, clicks_after) if clicks and clicks_after else None
    money = None
    if books is not None:
        asked = Asked(program, plan.program["timezone"], plan.span, row.partition, row.position)
        money = compare_money(ledger, books, asked, {each[1] for each in comparison.moved})
        note_repaid(comparison, decisions, like, money.conversions)
    baseline.clicks = baseline.book = None
    del changed, like, clicks, clicks_after
    checked = _checked(ledger, data, plan, row, baseline, erasures)
    paid = {partner for partner, _currency in money.partners} if money else set()
    return Report(
        program_id=program,
        program_code=plan.program["code"],
        span=plan.span,
        position=row.position,
        records=records,
        seconds=clock.monotonic_s() - started_s,
        before=before,
        after=after,
        comparison=comparison,
        clicks=judged,
        money=money,
        ledger=checked,
        erasures=erasures.count,
        names=_partner_names(ledger, comparison.partners.keys() | (judged or {}).keys() | paid),
        notes=notes,
    )


def _entries(
    ledger: Ledger,
    data: Path,
    plan: Plan,
    row: PartitionRow,
    left_out: list[bytes],
    watch: Watch | None,
) -> Iterable[Reasoned]:
    """The archive, after what has to be known before it."""
    entries: Iterable[Reasoned] = archived(ledger, data, row.partition, (0, 0), row.position)
    manifest = matching.archive_manifest(ledger, row.partition)
    if watch is not None:
        entries = watch(entries, sum(segment.length for segment in manifest))
    told = [*left_out, *([plan.trial.record(plan.brand["id"])] if plan.trial else [])]
    if told and manifest:
        first_ms = manifest[0].first[0]
        frames = controls_frames(row.partition, told)
        ahead = [((first_ms - 1, at, frame), None) for at, frame in enumerate(frames)]
        return itertools.chain(ahead, entries)
    return entries


def _clicks(plan: Plan) -> Clicks | None:
    """None where no change can move a click: then none has to be remembered."""
    return Clicks(plan.program["id"], plan.span) if FRAUD in plan.rules.program else None


def _only_brand(ledger: Ledger, plan: Plan) -> OneBrand | None:
    """None where no other brand is in the partition: then the frames stay as they are."""
    others = queries.object_page(
        ledger, brands, brands.c.partition == plan.brand["partition"], count=2
    )
    return OneBrand(plan.brand["id"]) if len(others) > 1 else None


def _partition(ledger: Ledger, partition: int) -> PartitionRow:
    for row in matching.partition_rows(ledger):
        if row.partition == partition:
            return row
    raise HeadwaterError(f"the ledger has no partition {partition}")


def _require_position(replay: Replay, row: PartitionRow) -> None:
    if replay.engine.position != row.position:
        raise ReplayMismatch(
            f"the archive of partition {row.partition} ends at {replay.engine.position}, "
            f"the ledger is at {row.position}"
        )


def _left_out(ledger: Ledger, data: Path, plan: Plan, row: PartitionRow) -> list[bytes]:
    """Control records in force where the archive begins: where it begins late, those of the
    objects the rules change, and of all that the book goes by.
    """
    found = _before(ledger, data, row, plan.changes)
    if not found:
        return found
    of_book = outbox.objects_of(ledger, plan.brand["id"], OBJECTS)
    return _before(ledger, data, row, dict.fromkeys([*plan.changes, *of_book]))


def _before(
    ledger: Ledger, data: Path, row: PartitionRow, names: Collection[ObjectName]
) -> list[bytes]:
    """The last control records of some objects that the archive no longer holds."""
    entries = archived(ledger, data, row.partition, (0, 0), row.position)
    kept = first_revisions(entries, names)
    found = [
        outbox.control_before(ledger, kind, number, kept.get((kind, number)))
        for kind, number in names
    ]
    return [control for control in found if control is not None]


def _notes(
    plan: Plan, before: RuleSet, after: RuleSet, overlay: Overlay, is_cut: bool
) -> list[str]:
    notes = []
    if is_cut:
        notes.append(
            "the archive begins after the program was made: earlier clicks and links are unknown"
        )
    if overlay.revisions > len(plan.changes):
        notes.append(
            f"the program was changed {overlay.revisions - len(plan.changes)} times; each change "
            "is replayed, and what --set names overrides it"
        )
    if before.config_hash == after.config_hash:
        notes.append("the rules asked for are those in force now")
    in_force = plan.in_force["program", plan.program["id"]]
    model = merged(in_force, plan.rules.program).get("model")
    notes += idle_members(plan.rules, model if model in MODELS else MODELS[0])
    return notes


def _checked(
    ledger: Ledger,
    data: Path,
    plan: Plan,
    row: PartitionRow,
    baseline: Replay,
    erasures: Erasures,
) -> LedgerCheck:
    before = baseline.decisions

    def catch_up() -> Decisions:
        """What was committed while the archive was replayed."""
        later = Decisions(plan.program["id"], plan.span)
        now = _partition(ledger, row.partition)
        rest = archived(ledger, data, row.partition, row.position, now.position)
        baseline.decisions = later
        replay_one(rest, baseline)
        return later

    return check_ledger(
        *(ledger, plan.program["id"], plan.span),
        *(before, erasures.identifiers, catch_up),
    )


def _partner_names(ledger: Ledger, numbers: Iterable[int]) -> dict[int, str]:
    names = {}
    for number in numbers:
        row = queries.object_row(ledger, partners, number)
        if row is not None:
            names[number] = row["name"]
    return names
