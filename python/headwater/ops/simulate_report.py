"""A simulation told: tables for people, one JSON object or CSV rows for programs."""

from __future__ import annotations

import csv
import heapq
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from headwater import clock, ids
from headwater.model.attribution import WHOLE_PPM
from headwater.model.cells import safe_cell
from headwater.ops.simulate_clicks import STATES, PartnerClicks, total
from headwater.ops.simulate_compare import (
    DIFFERING_NAMED,
    Comparison,
    LedgerCheck,
    Moved,
    PartnerChange,
    shares,
)
from headwater.ops.simulate_money import MoneyComparison, Sides
from headwater.ops.simulate_payouts import CSV_COLUMNS as PAYOUT_COLUMNS
from headwater.ops.simulate_payouts import paid_cells, paid_member, payouts_member, payouts_table
from headwater.ops.simulate_replay import Decided
from headwater.ops.simulate_rules import DAY_S, Members, Span

EXAMPLES: Final = 20


@dataclass
class RuleSet:
    """Control values that decide, by the object's name, and a digest of them."""

    config_hash: str
    values: Mapping[str, Members]


@dataclass
class Report:
    """All that a simulation found."""

    program_id: int
    program_code: str
    span: Span
    position: tuple[int, int]
    records: int
    seconds: float
    before: RuleSet
    after: RuleSet
    comparison: Comparison
    clicks: dict[int, PartnerClicks] | None
    """By partner; None where no change can move a click."""
    money: MoneyComparison | None
    """None: the program has no terms, and nothing is owed."""
    ledger: LedgerCheck
    erasures: int
    names: Mapping[int, str]
    """Partners' names by number."""
    notes: list[str]
    """What a reader has to know before he believes the numbers."""


# ---- Tables --------------------------------------------------------------------------------


def credit(ppm: int) -> str:
    """Parts per million as conversions: 1.5, -0.333333."""
    sign = "-" if ppm < 0 else ""
    whole, rest = divmod(abs(ppm), WHOLE_PPM)
    return f"{sign}{whole}.{rest:06d}".rstrip("0").rstrip(".")


def signed(ppm: int) -> str:
    return f"+{credit(ppm)}" if ppm > 0 else credit(ppm)


COLUMNS: Final[tuple[tuple[str, Callable[[PartnerChange], str]], ...]] = (
    ("before", lambda change: credit(change.before_ppm)),
    ("after", lambda change: credit(change.after_ppm)),
    ("difference", lambda change: signed(change.after_ppm - change.before_ppm)),
    ("credit gained", lambda change: credit(change.gained_ppm)),
    ("credit lost", lambda change: credit(change.lost_ppm)),
    ("conversions gained", lambda change: str(change.conversions_gained)),
    ("conversions lost", lambda change: str(change.conversions_lost)),
)


def print_report(report: Report, screen: Console) -> None:
    """Print everything but the whole list of moved conversions."""
    found = report.comparison
    screen.print(_heading(report))
    screen.print(_rules_table(report))
    screen.print(_partners_table(report))
    if report.money is not None:
        screen.print(payouts_table(report.money, report.names))
    if report.clicks is not None:
        screen.print(_clicks_table(report, report.clicks))
    screen.print(_reasons_table(found))
    if found.moved:
        screen.print(_examples_table(report))
    for line in _remarks(report):
        screen.print(Text(line))


def _heading(report: Report) -> Text:
    found = report.comparison
    return Text(
        f"program {report.program_code}: {found.conversions} conversions accepted "
        f"{_span_text(report.span)}; {len(found.moved)} would be credited otherwise"
        f"{'' if report.money is None else f', {len(found.repaid)} more paid otherwise'}\n"
        f"{report.records} records replayed in {report.seconds:.1f} s"
    )


def _span_text(span: Span) -> str:
    until = _time(span.until_ms)
    return f"from {_time(span.since_ms)} on" + (f", before {until}" if until else "")


def _time(at_ms: int) -> str | None:
    """The time, or None where a span has no end."""
    try:
        return clock.iso_ms(at_ms)
    except (ValueError, OverflowError):
        return None


def _rules_table(report: Report) -> Table:
    table = Table("rule", "before", "after", title="Rules")
    for name, nested in report.after.values.items():
        values, old = _flat(nested), _flat(report.before.values[name])
        for member in sorted(values):
            if values[member] != old.get(member):
                was = _value(member, old[member]) if member in old else "default"
                now = _value(member, values[member])
                table.add_row(Text(f"{name} {member}"), Text(was), Text(now))
    table.add_row("config hash", report.before.config_hash, report.after.config_hash)
    return table


def _flat(values: Members) -> dict[str, Any]:
    """Members by name; those of maps within by their way: `fraud.rules.CODE.mode`."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found.update({f"{name}.{inner}": each for inner, each in _flat(value).items()})
        else:
            found[name] = value
    return found


def _value(member: str, value: Any) -> str:
    if member.endswith("_ms") and isinstance(value, int):
        seconds = value // 1000
        return f"{seconds} s" if seconds % DAY_S else f"{seconds // DAY_S} days"
    return value if isinstance(value, str) else json.dumps(value)


def _partners_table(report: Report) -> Table:
    table = Table("partner", "name", title="Credits, in conversions", show_footer=True)
    table.columns[0].footer = "all"
    totals = report.comparison.totals
    for heading, text in COLUMNS:
        table.add_column(heading, justify="right", footer=text(totals))
    ordered = sorted(
        report.comparison.partners.items(),
        key=lambda item: (-abs(item[1].after_ppm - item[1].before_ppm), item[0]),
    )
    for number, change in ordered:
        name = Text(report.names.get(number, ""))
        cells = [text(change) for _, text in COLUMNS]
        table.add_row(ids.object_text("prt", number), name, *cells)
    return table


def _clicks_table(report: Report, clicks: Mapping[int, PartnerClicks]) -> Table:
    """A partner a row: how many clicks ended in each state, before and after where it moved."""
    table = Table("partner", "name", title="Clicks, by what became of them", show_footer=True)
    table.columns[0].footer = "all"
    whole = total(dict(clicks))
    for state in STATES:
        table.add_column(state, justify="right", footer=_before_after(whole, state))
    table.add_column("changed", justify="right", footer=str(whole.changed))
    ordered = sorted(clicks.items(), key=lambda item: (-item[1].changed, item[0]))
    for number, change in ordered:
        cells = [_before_after(change, state) for state in STATES]
        name = Text(report.names.get(number, ""))
        table.add_row(ids.object_text("prt", number), name, *cells, str(change.changed))
    return table


def _before_after(clicks: PartnerClicks, state: str) -> str:
    before, after = clicks.before[state], clicks.after[state]
    return str(before) if before == after else f"{before} → {after}"


def _reasons_table(found: Comparison) -> Table:
    table = Table("unattributed", title="Conversions without credit", show_footer=True)
    before, after = found.unattributed_before, found.unattributed_after
    table.columns[0].footer = "all"
    table.add_column("before", justify="right", footer=str(before.total()))
    table.add_column("after", justify="right", footer=str(after.total()))
    for reason in sorted(before.keys() | after.keys()):
        table.add_row(reason, str(before[reason]), str(after[reason]))
    return table


def _examples_table(report: Report) -> Table:
    moved = report.comparison.moved
    title = f"Credit that moved: {min(len(moved), EXAMPLES)} of {len(moved)} conversions"
    table = Table("conversion", "from", "to", title=title)
    for each in moved[:EXAMPLES]:
        conversion = ids.event_text("cnv", each.conversion_id)
        table.add_row(conversion, _credited(each.before), _credited(each.after))
    return table


def _credited(decided: Decided) -> Text:
    if not decided.credits:
        return Text(decided.reason or "unknown")
    return Text(
        "\n".join(
            f"{ids.object_text('prt', partner)} {credit(share)}"
            for partner, share in shares(decided).items()
        )
    )


def _remarks(report: Report) -> Iterator[str]:
    found, ledger = report.comparison, report.ledger
    yield from report.notes
    if found.clicks_changed:
        yield f"{found.clicks_changed} conversions keep their partners and name other clicks"
    if found.tests:
        yield f"{found.tests} test conversions are left out"
    if ledger.touched_by_erasure:
        yield f"{ledger.touched_by_erasure} conversions differ for identifiers erased since"
    if ledger.differing or ledger.missing:
        named = [ids.event_text("cnv", raw) for raw in ledger.differing[:DIFFERING_NAMED]]
        yield (
            f"warning: the replay under the present rules differs from the ledger in "
            f"{len(ledger.differing)} of {ledger.compared} conversions, and has {ledger.missing} "
            f"that the ledger has not; run `headwater verify`. {' '.join(named)}".rstrip()
        )
    else:
        yield f"the replay under the present rules repeats the ledger ({ledger.compared} compared)"
    if report.money is not None and report.money.is_repeated is None:
        yield "the ledger has gone on meanwhile: payouts were not compared with it"
    elif report.money is not None and not report.money.is_repeated:
        yield (
            "warning: under the present rules partners are owed otherwise than the ledger has it; "
            "run `headwater verify`"
        )


# ---- JSON and CSV --------------------------------------------------------------------------


def write_json(report: Report, out: TextIO) -> None:
    """One JSON object. Its last members are written one by one: they may be long."""
    out.write(json.dumps(_summary(report), ensure_ascii=False)[:-1])
    _write_list(report, "moved", report.comparison.moved, out)
    if report.money is not None:
        _write_list(report, "repaid", report.comparison.repaid, out)
    out.write("}\n")


def _write_list(report: Report, name: str, listed: Sequence[Moved], out: TextIO) -> None:
    out.write(f', "{name}": [')
    for number, moved in enumerate(listed):
        out.write(", " if number else "")
        out.write(json.dumps(_moved(report, moved), ensure_ascii=False))
    out.write("]")


def _summary(report: Report) -> dict[str, Any]:
    found, ledger = report.comparison, report.ledger
    return {
        "program": report.program_code,
        "program_id": ids.object_text("prg", report.program_id),
        "since": clock.iso_ms(report.span.since_ms),
        "until": _time(report.span.until_ms),
        "position": f"{report.position[0]}-{report.position[1]}",
        "records": report.records,
        "seconds": round(report.seconds, 3),
        "rules": {"before": asdict(report.before), "after": asdict(report.after)},
        "conversions": found.conversions,
        "test_conversions": found.tests,
        "conversions_moved": len(found.moved),
        "clicks_changed": found.clicks_changed,
        "totals": _change(found.totals),
        "partners": [
            {
                "partner_id": ids.object_text("prt", number),
                "name": report.names.get(number),
                **_change(change),
            }
            for number, change in sorted(found.partners.items())
        ],
        **({} if report.clicks is None else {"clicks": _clicks(report, report.clicks)}),
        **_money(report),
        "unattributed": {
            "before": _reasons(found.unattributed_before),
            "after": _reasons(found.unattributed_after),
        },
        "ledger": {
            "compared": ledger.compared,
            "differing": len(ledger.differing),
            "missing": ledger.missing,
            "touched_by_erasure": ledger.touched_by_erasure,
            "conversions": [
                ids.event_text("cnv", raw) for raw in ledger.differing[:DIFFERING_NAMED]
            ],
        },
        "erasures": report.erasures,
        "notes": report.notes,
    }


def _change(change: PartnerChange) -> dict[str, int]:
    return {**asdict(change), "difference_ppm": change.after_ppm - change.before_ppm}


def _clicks(report: Report, clicks: Mapping[int, PartnerClicks]) -> dict[str, Any]:
    return {
        **_states(total(dict(clicks))),
        "partners": [
            {
                "partner_id": ids.object_text("prt", number),
                "name": report.names.get(number),
                **_states(change),
            }
            for number, change in sorted(clicks.items())
        ],
    }


def _money(report: Report) -> dict[str, Any]:
    if report.money is None:
        return {}
    return {
        "conversions_repaid": len(report.comparison.repaid),
        "payouts": {
            **payouts_member(report.money, report.names),
            "repeats_ledger": report.money.is_repeated,
        },
    }


def _states(clicks: PartnerClicks) -> dict[str, Any]:
    return {
        "before": {state: clicks.before[state] for state in STATES},
        "after": {state: clicks.after[state] for state in STATES},
        "changed": clicks.changed,
    }


def _reasons(counted: Mapping[str, int]) -> dict[str, Any]:
    return {"conversions": sum(counted.values()), "reasons": dict(sorted(counted.items()))}


def _moved(report: Report, moved: Moved) -> dict[str, Any]:
    before, after = moved.before, moved.after
    told = {"before": _decision(before), "after": _decision(after)}
    if report.money is not None:
        for side, paid in zip(told.values(), _paid(report, moved), strict=True):
            side["payouts"] = paid_member(paid)
    return {
        "conversion_id": ids.event_text("cnv", moved.conversion_id),
        "order_id": before.order_id,
        "accepted_at": clock.iso_ms(moved.accept_ms),
        **told,
    }


def _paid(report: Report, moved: Moved) -> Sides:
    paid = report.money.conversions.get(moved.conversion_id) if report.money else None
    return paid or ({}, {})


def _decision(decided: Decided) -> dict[str, Any]:
    return {
        "reason": decided.reason,
        "credits": [
            {
                "partner_id": ids.object_text("prt", partner),
                "click_id": _click(click_id),
                "share_ppm": share_ppm,
            }
            for partner, click_id, share_ppm in decided.credits
        ],
    }


def _click(click_id: bytes | None) -> str | None:
    return None if click_id is None else ids.event_text("clk", click_id)


CSV_COLUMNS: Final = (
    *("conversion_id", "order_id", "accepted_at", "partner_id"),
    *("share_ppm_before", "share_ppm_after", "reason_before", "reason_after"),
    *PAYOUT_COLUMNS,
)


def write_csv(report: Report, path: Path) -> None:
    """A row for each partner of each conversion that moved or is paid otherwise. Raises OSError."""
    found = report.comparison
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(CSV_COLUMNS)
        for moved in heapq.merge(found.moved, found.repaid, key=lambda each: each[:2]):
            writer.writerows(_csv_rows(report, moved))


def _csv_rows(report: Report, moved: Moved) -> Iterator[tuple[object, ...]]:
    before, after = moved.before, moved.after
    was, now = shares(before), shares(after)
    paid, pays = _paid(report, moved)
    conversion = ids.event_text("cnv", moved.conversion_id)
    head = (conversion, safe_cell(before.order_id or ""), clock.iso_ms(moved.accept_ms))
    for partner in sorted(was.keys() | now.keys() | paid.keys() | pays.keys()):
        yield (
            *head,
            ids.object_text("prt", partner),
            was.get(partner, 0),
            now.get(partner, 0),
            before.reason or "",
            after.reason or "",
            *paid_cells(paid.get(partner), pays.get(partner)),
        )
