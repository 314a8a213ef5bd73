"""Terms between the API and the log: ids and times there, numbers and milliseconds here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import UNSET

from headwater import clock, ids, limits
from headwater.book.terms import fold
from headwater.book.terms_check import ProgramFacts, check_terms
from headwater.console.bodies import refused
from headwater.console.fields import given, parse_reference
from headwater.console.terms_shapes import TermsIn, TermsPatch
from headwater.errors import FieldFault, RequestRefused
from headwater.ledger.terms import Owner

Row = Mapping[str, Any]

_FIELDS: Final = {"from_ms": "starts_at", "until_ms": "ends_at", "terms": "events"}
"""Members of a control value that the API names otherwise."""
_PLAIN: Final = (
    "currency",
    "window_seconds",
    "locking",
    "payment",
    "change_notice_days",
    "reversal_max_ppm",
    "cpc_mode",
    "approve",
)
# A change is on the log within this; what begins sooner may be in force when it comes.
SETTLED_MS: Final = limits.PUBLISH_WAIT_MS * 2


def in_force(rows: Sequence[Row], at_ms: int) -> Row | None:
    """Of one owner's terms those in force: of those that have begun the newest, unless ended."""
    begun = [row for row in rows if row["from_ms"] <= at_ms]
    if not begun:
        return None
    newest = max(begun, key=lambda row: (row["from_ms"], row["version"]))
    until_ms = newest["value"]["until_ms"]
    return newest if until_ms is None or at_ms < until_ms else None


def state_of(row: Row, at_ms: int) -> str:
    """`scheduled`, `over` by its end, or `begun`."""
    if row["from_ms"] > at_ms:
        return "scheduled"
    until_ms = row["value"]["until_ms"]
    return "begun" if until_ms is None or at_ms < until_ms else "over"


def earliest_ms(owner: Owner, now_ms: int) -> int:
    """Before when new terms may not begin: the notice of those in force has to be given, and what
    was in force once stays so.
    """
    current = in_force(owner.own, now_ms) or in_force(owner.template, now_ms)
    if current is not None:
        notice_days: int = current["value"]["change_notice_days"]
        return now_ms + notice_days * limits.DAY_MS
    begun = [row for row in (*owner.own, *owner.template) if row["from_ms"] <= now_ms]
    ends: list[int] = [row["value"]["until_ms"] or now_ms for row in begun]
    return min(now_ms, max(ends, default=0))


def value_of(owner: Owner, body: TermsIn, now_ms: int) -> dict[str, Any]:
    """The control value of new terms. Raises RequestRefused with every fault."""
    earliest = earliest_ms(owner, now_ms)
    return _checked(owner, _value(owner, body, max(earliest, now_ms)), earliest)


def tried_value(owner: Owner, body: TermsIn) -> dict[str, Any]:
    """The control value of terms that are only thought of, from the beginning of all time where
    they do not say another. Raises RequestRefused with every fault.
    """
    return _checked(owner, _value(owner, body, 0), 0)


def _value(owner: Owner, body: TermsIn, from_ms: int) -> dict[str, Any]:
    value: dict[str, Any] = {name: getattr(body, name) for name in _PLAIN}
    return value | {
        "program": owner.program["id"],
        "partner": owner.partner,
        "version": 1,
        "from_ms": from_ms if body.starts_at is None else clock.parse_iso_ms(body.starts_at),
        "until_ms": None if body.ends_at is None else clock.parse_iso_ms(body.ends_at),
        "currency": body.currency or owner.program["currency"],
        "events": body.events,
        "caps": body.caps,
    }


def altered(owner: Owner, row: Row, body: TermsPatch, now_ms: int) -> dict[str, Any]:
    """The columns of terms after a change. Raises RequestRefused: `terms_in_force` for one that
    terms which have begun do not allow.
    """
    changes = given(body)
    if row["from_ms"] <= now_ms + SETTLED_MS and changes.keys() - {"ends_at"}:
        raise RequestRefused("terms_in_force")
    others = Owner(
        owner.program,
        owner.partner,
        owner.event_types,
        [each for each in owner.own if each["id"] != row["id"]],
        owner.template,
    )
    value = api_value(row["value"])
    value |= {name: changes[name] for name in (*_PLAIN, "events", "caps") if name in changes}
    if body.starts_at is not UNSET:
        value["from_ms"] = clock.parse_iso_ms(body.starts_at)
    if body.ends_at is not UNSET:
        value["until_ms"] = None if body.ends_at is None else clock.parse_iso_ms(body.ends_at)
        _require_open_end(row, value["until_ms"], now_ms)
    earliest = 0 if row["from_ms"] <= now_ms + SETTLED_MS else earliest_ms(others, now_ms)
    value = _checked(owner, value, earliest)
    return {"value": value, "from_ms": value["from_ms"]}


def _require_open_end(row: Row, until_ms: int | None, now_ms: int) -> None:
    """What has ended stays so, and an end is announced as a beginning is."""
    if row["from_ms"] > now_ms + SETTLED_MS:
        return
    before_ms = row["value"]["until_ms"]
    if before_ms is not None and before_ms <= now_ms + SETTLED_MS:
        raise RequestRefused("terms_in_force")
    notice_ms = row["value"]["change_notice_days"] * limits.DAY_MS
    if until_ms is not None and until_ms < now_ms + max(notice_ms, SETTLED_MS):
        detail = "too early: it lies behind, or within the notice promised"
        raise refused([FieldFault("ends_at", "invalid", detail)])


def deleted(row: Row, now_ms: int) -> dict[str, Any]:
    """The columns of terms that are deleted before they begin. Raises RequestRefused."""
    if row["from_ms"] <= now_ms + SETTLED_MS:
        raise RequestRefused("terms_in_force")
    return {"status": "deleted"}


# ---- Event types ---------------------------------------------------------------------------


def event_type_of(event_types: Sequence[Row], name: str) -> int | None:
    """The number of a program's event type by its code, its id or its external id."""
    for row in event_types:
        if row["code"] == name:
            return int(row["id"])
    try:
        reference = parse_reference("ety", name)
    except ValueError:
        return None
    for row in event_types:
        if reference in (row["id"], row["external_id"]):
            return int(row["id"])
    return None


def api_value(value: Row) -> dict[str, Any]:
    """A control value with event types as the API names them."""
    told = dict(value)
    told["events"] = {
        ids.object_text("ety", int(number)): event for number, event in value["events"].items()
    }
    told["caps"] = [
        {**cap, "event_type": ids.object_text("ety", cap["event_type"])}
        if cap.get("event_type")
        else cap
        for cap in value["caps"]
    ]
    return told


def partners_value(value: Row, partner: int) -> dict[str, Any]:
    """A control value as one partner is told of it: without groups that cannot be its own, and
    without other partners in the conditions of those that can.
    """
    events = {
        number: {**event, "groups": _partners_groups(event["groups"], partner)}
        if "groups" in event
        else event
        for number, event in value["events"].items()
    }
    return {**value, "events": events}


def _partners_groups(groups: Sequence[Row], partner: int) -> list[Row]:
    own = ids.object_text("prt", partner)
    found: list[Row] = []
    for group in groups:
        when, unless = dict(group.get("when", {})), dict(group.get("not", {}))
        if "partner" in when:
            if not _names(when["partner"], own):
                continue
            when["partner"] = [own]
        if _names(unless.pop("partner", ()), own):
            continue
        conditions = {"when": when, "not": unless}
        told = {name: conditions[name] for name in conditions if name in group}
        found.append({**group, **told})
    return found


def _names(values: Sequence[object], own: str) -> bool:
    return any(fold(str(each)) == own for each in values)


def _checked(owner: Owner, value: dict[str, Any], earliest: int) -> dict[str, Any]:
    """The value with numbers of event types. Raises RequestRefused with every fault."""
    faults: list[FieldFault] = []
    names: dict[str, str] = {}
    events: dict[str, Any] = {}
    for name, event in value["events"].items():
        number = event_type_of(owner.event_types, name)
        if number is None:
            detail = "not an event type of the program"
            faults.append(FieldFault("events", "unknown_event_type", detail))
        elif str(number) in events:
            faults.append(FieldFault("events", "invalid", "an event type is named twice"))
        else:
            events[str(number)], names[str(number)] = event, name
    caps = [_cap(owner, cap) for cap in value["caps"]]
    value = {**value, "events": events, "caps": caps}
    facts = ProgramFacts({row["id"]: row["kind"] for row in owner.event_types}, earliest)
    faults += [_told(fault, names) for fault in check_terms(value, facts)]
    if faults:
        raise refused(faults)
    return value


def _cap(owner: Owner, cap: dict[str, Any]) -> dict[str, Any]:
    name = cap.get("event_type")
    if name is None:
        return {key: cap[key] for key in cap if key != "event_type"}
    found = event_type_of(owner.event_types, name) if isinstance(name, str) else None
    # None that there is has the number 0: the check says what is wrong with it.
    return {**cap, "event_type": found or 0}


def _told(fault: FieldFault, names: Mapping[str, str]) -> FieldFault:
    """A fault under the API's names."""
    head, _, tail = fault.field.partition(".")
    if head == "events" and tail:
        number, _, rest = tail.partition(".")
        tail = ".".join(filter(None, (names.get(number, number), rest)))
    field = ".".join(filter(None, (_FIELDS.get(head, head), tail)))
    return FieldFault(field, fault.code, fault.detail)
