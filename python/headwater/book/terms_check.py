"""Whether terms hold together: every fault at once, before they reach the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgpack

from headwater import clock, limits
from headwater.book.terms import GROUP_FIELDS, ITEM_FIELDS, ORDER_TOTAL, fold
from headwater.errors import FieldFault
from headwater.model.currency import EXPONENTS
from headwater.model.devices import DEVICES
from headwater.model.records import NUMBER_MAX

_OF_ORDERS: Final = ITEM_FIELDS | {ORDER_TOTAL, "promo_code", "customer_status"}
"""What a click does not have."""
_REQUIRED: Final = (
    "program", "partner", "version", "from_ms", "currency", "locking", "payment", "events",
)  # fmt: skip
_OPTIONAL: Final = (
    "until_ms", "window_seconds", "change_notice_days", "reversal_max_ppm", "cpc_mode",
    "approve", "caps",
)  # fmt: skip
_LOCKING: Final = {"month_end": ("months", "days"), "tracked": ("days",), "never": ()}
_PPM_MAX: Final = 1_000_000


class ProgramFacts(NamedTuple):
    """What terms are held against."""

    event_types: Mapping[int, str]
    """Kind (`click`, `lead`, `sale`, `custom`) of each event type of the program."""
    earliest_from_ms: int
    """Before it terms may not begin: now, and the notice that the terms in force promise."""


def check_terms(value: Mapping[str, Any], program: ProgramFacts) -> list[FieldFault]:
    """Every fault of a control value `terms`, in the order of its fields; empty: it holds."""
    check = _Check(program)
    check.terms(value)
    if not check.faults:
        check.size(value)
    return check.faults


class _Check:
    """Walks a value and gathers its faults. Fields are named by their path, joined by points."""

    def __init__(self, program: ProgramFacts) -> None:
        self.program = program
        self.faults: list[FieldFault] = []

    def fault(self, path: str, detail: str, code: str = "invalid") -> None:
        self.faults.append(FieldFault(path, code, detail))

    # ---- Forms ---------------------------------------------------------------------------

    def members(
        self, path: str, given: object, required: Sequence[str], optional: Sequence[str] = ()
    ) -> Mapping[str, Any] | None:
        """The map at `path`, if it is one; it has all that is required, and nothing unknown."""
        if not isinstance(given, Mapping):
            self.fault(path, "an object")
            return None
        inside = f"{path}." if path else ""
        for name in required:
            if name not in given:
                self.fault(inside + name, "it is missing", "required")
        known = (*required, *optional)
        if any(name not in known for name in given):
            self.fault(path or "terms", f"a member that is not known; there are {', '.join(known)}")
        return given

    def whole(
        self, path: str, given: Mapping[str, Any], name: str, least: int, most: int
    ) -> int | None:
        """The whole number `name`, if it is there and in its range."""
        if name not in given:
            return None
        number = given[name]
        if type(number) is not int or not least <= number <= most:
            self.fault(f"{path}.{name}" if path else name, f"a whole number, {least} to {most}")
            return None
        return number

    def word(self, path: str, given: Mapping[str, Any], name: str, words: Sequence[str]) -> str:
        """The word `name`; empty when it is absent or another."""
        if name not in given:
            return ""
        word = given[name]
        if not isinstance(word, str) or word not in words:
            self.fault(f"{path}.{name}" if path else name, f"one of {', '.join(words)}")
            return ""
        return word

    def elements(self, path: str, given: object, most: int) -> Sequence[Any]:
        """The list at `path`; empty when it is none or too long."""
        if not isinstance(given, list | tuple):
            self.fault(path, "a list")
            return ()
        if len(given) > most:
            self.fault(path, f"more than {most}", "too_many_values")
            return ()
        return given

    # ---- Terms ---------------------------------------------------------------------------

    def terms(self, value: Mapping[str, Any]) -> None:
        given = self.members("", value, _REQUIRED, _OPTIONAL)
        if given is None:
            return
        self.whole("", given, "program", 1, NUMBER_MAX)
        self.whole("", given, "partner", 0, NUMBER_MAX)
        self.whole("", given, "version", 1, NUMBER_MAX)
        self.times(given)
        currency = given.get("currency", "EUR")
        if not isinstance(currency, str) or currency not in EXPONENTS:
            self.fault("currency", "not an ISO 4217 currency code", "currency_unknown")
        if given.get("window_seconds") is not None:
            least, most = limits.CLICK_WINDOW_S_MIN, limits.CLICK_WINDOW_S_MAX
            self.whole("", given, "window_seconds", least, most)
        if "locking" in given:
            self.locking(given["locking"])
        if "payment" in given and (
            payment := self.members("payment", given["payment"], ("months", "days"))
        ):
            self.delay("payment", payment)
        self.whole("", given, "change_notice_days", 0, limits.CHANGE_NOTICE_DAYS_MAX)
        self.whole("", given, "reversal_max_ppm", 0, _PPM_MAX)
        self.word("", given, "cpc_mode", ("review", "instant"))
        self.word("", given, "approve", ("automatic", "manual"))
        self.events(given.get("events", {}))
        self.caps(given.get("caps", ()))

    def times(self, given: Mapping[str, Any]) -> None:
        begin = self.whole("", given, "from_ms", 0, clock.ISO_MS_MAX)
        if begin is not None and begin < self.program.earliest_from_ms:
            self.fault("from_ms", "too early: it lies behind, or within the notice promised")
        if given.get("until_ms") is not None:
            end = self.whole("", given, "until_ms", 0, clock.ISO_MS_MAX)
            if begin is not None and end is not None and end <= begin:
                self.fault("until_ms", "not after the beginning")

    def locking(self, given: object) -> None:
        if not isinstance(given, Mapping):
            self.fault("locking", "an object")
            return
        kind = given.get("kind")
        if not isinstance(kind, str) or kind not in _LOCKING:
            self.fault("locking.kind", f"one of {', '.join(_LOCKING)}")
            return
        locking = self.members("locking", given, ("kind", *_LOCKING[kind]))
        if locking is not None:
            self.delay("locking", locking)

    def delay(self, path: str, given: Mapping[str, Any]) -> None:
        self.whole(path, given, "months", 0, limits.LOCK_MONTHS_MAX)
        self.whole(path, given, "days", 0, limits.LOCK_DAYS_MAX)

    def size(self, value: Mapping[str, Any]) -> None:
        if _entries(value) > limits.TERMS_ENTRIES_MAX:
            detail = f"more than {limits.TERMS_ENTRIES_MAX} entries over all levels"
            self.fault("terms", detail, "value_too_long")
        elif len(msgpack.packb(value)) > limits.TERMS_BYTES_MAX:
            detail = f"more than {limits.TERMS_BYTES_MAX} bytes as a record"
            self.fault("terms", detail, "value_too_long")

    # ---- Payouts -------------------------------------------------------------------------

    def events(self, given: object) -> None:
        if not isinstance(given, Mapping):
            self.fault("events", "an object")
            return
        for key, event in given.items():
            path = f"events.{key}"
            kind = self.program.event_types.get(int(key)) if _is_number(key) else None
            if kind is None:
                self.fault("events", "not an event type of the program", "unknown_event_type")
            else:
                self.event(path, event, kind)

    def event(self, path: str, given: object, kind: str) -> None:
        event = self.members(path, given, (), ("groups", "default", "tiers"))
        if event is None:
            return
        pays: list[Mapping[str, Any]] = []
        listed = event.get("groups", ())
        groups = self.elements(f"{path}.groups", listed, limits.PAYOUT_GROUPS_MAX)
        for number, group in enumerate(groups):
            pays += self.group(f"{path}.groups.{number}", group, kind)
        if event.get("default") is not None:
            pays += self.pay(f"{path}.default", event["default"])
        if event.get("tiers") is not None:
            if kind == "click":
                self.fault(f"{path}.tiers", "clicks have no tiers")
            else:
                pays += self.tiers(f"{path}.tiers", event["tiers"])
        if any(pay.get("per", "order") != pays[0].get("per", "order") for pay in pays):
            self.fault(path, "all of its payouts are per order, or all are per item")
        if kind == "click" and any(
            pay["kind"] != "flat" or pay.get("per", "order") != "order" for pay in pays
        ):
            self.fault(path, "a click pays a flat amount")

    def group(self, path: str, given: object, kind: str) -> list[Mapping[str, Any]]:
        group = self.members(path, given, ("pay",), ("when", "not"))
        if group is None:
            return []
        if not group.get("when") and not group.get("not"):
            self.fault(path, "a group without a condition hides all that follow: use the default")
        for name in ("when", "not"):
            if name in group:
                self.conditions(f"{path}.{name}", group[name], kind)
        return self.pay(f"{path}.pay", group["pay"]) if "pay" in group else []

    def conditions(self, path: str, given: object, kind: str) -> None:
        known = GROUP_FIELDS - _OF_ORDERS if kind == "click" else GROUP_FIELDS
        conditions = self.members(path, given, (), sorted(known))
        for field, wanted in (conditions or {}).items():
            if field not in known:
                continue
            inner = f"{path}.{field}"
            values = self.elements(inner, wanted, limits.GROUP_VALUES_MAX)
            if not values and isinstance(wanted, list | tuple) and not wanted:
                self.fault(inner, "one value at least")
            right = _is_range if field == ORDER_TOTAL else _is_text
            if not all(right(each) for each in values):
                form = "pairs [from, below] of minor units; below may be null"
                texts = f"texts of 1 to {limits.PARAMETER_BYTES_MAX} bytes"
                self.fault(inner, form if field == ORDER_TOTAL else texts)
            elif field == "device" and any(fold(str(each)) not in DEVICES for each in values):
                self.fault(inner, f"kinds of devices; there are {', '.join(DEVICES)}")

    def tiers(self, path: str, given: object) -> list[Mapping[str, Any]]:
        tiers = self.members(path, given, ("basis", "kind", "steps"))
        if tiers is None:
            return []
        basis = self.word(path, tiers, "basis", ("actions", "revenue"))
        kind = self.word(path, tiers, "kind", ("retroactive", "marginal"))
        pays, before = [], 0
        steps = self.elements(f"{path}.steps", tiers.get("steps", ()), limits.TIER_STEPS_MAX)
        for number, each in enumerate(steps):
            inner = f"{path}.steps.{number}"
            step = self.members(inner, each, ("from", "pay"))
            if step is None:
                continue
            start = self.whole(inner, step, "from", 1, limits.PAYOUT_MINOR_MAX)
            if start is not None and start <= before:
                self.fault(f"{inner}.from", "not above the step before")
            before = start or before
            pays += self.pay(f"{inner}.pay", step["pay"]) if "pay" in step else []
        if "steps" in tiers and tiers["steps"] in ([], ()):
            self.fault(f"{path}.steps", "one step at least")
        if basis == "revenue" and kind == "marginal" and any(p["kind"] == "flat" for p in pays):
            self.fault(f"{path}.steps", "a flat amount cannot be cut where revenue passes a step")
        return pays

    def pay(self, path: str, given: object) -> list[Mapping[str, Any]]:
        """The payout, in a list of its own, when its kind can be read."""
        if not isinstance(given, Mapping) or given.get("kind") not in ("flat", "percent"):
            self.fault(f"{path}.kind" if isinstance(given, Mapping) else path, "flat or percent")
            return []
        if given["kind"] == "flat":
            self.members(path, given, ("kind", "amount_micros"), ("per",))
            most = limits.PAYOUT_MINOR_MAX * 1_000_000
            self.whole(path, given, "amount_micros", 0, most)
        else:
            self.members(path, given, ("kind", "ppm"), ("per",))
            self.whole(path, given, "ppm", 0, _PPM_MAX)
        self.word(path, given, "per", ("order", "item"))
        return [given]

    # ---- Caps ----------------------------------------------------------------------------

    def caps(self, given: object) -> None:
        seen: set[tuple[object, ...]] = set()
        for number, each in enumerate(self.elements("caps", given, limits.CAPS_MAX)):
            path = f"caps.{number}"
            cap = self.members(path, each, ("metric", "period", "scope", "limit"), ("event_type",))
            if cap is None:
                continue
            name = (
                self.word(path, cap, "metric", ("conversions", "payout", "revenue")),
                self.word(path, cap, "period", ("day", "month", "lifetime")),
                self.word(path, cap, "scope", ("program", "partner")),
                repr(cap.get("event_type")),
            )
            self.whole(path, cap, "limit", 0, limits.PAYOUT_MINOR_MAX)
            event_type = cap.get("event_type")
            if event_type is not None and (
                type(event_type) is not int or event_type not in self.program.event_types
            ):
                detail = "not an event type of the program"
                self.fault(f"{path}.event_type", detail, "unknown_event_type")
            if all(name) and name in seen:
                self.fault(path, "a cap of the same metric, period, scope and event type is there")
            seen.add(name)


def _is_number(key: object) -> bool:
    return isinstance(key, str) and key.isascii() and key.isdecimal() and len(key) < 20


def _is_text(value: object) -> bool:
    if type(value) is int:
        return 0 <= value <= NUMBER_MAX
    if not isinstance(value, str):
        return False
    # Half of a surrogate pair can be written in JSON, and nowhere else.
    try:
        return 0 < len(value.encode("utf-8")) <= limits.PARAMETER_BYTES_MAX
    except UnicodeEncodeError:
        return False


def _is_range(value: object) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 2:
        return False
    low, high = value
    if type(low) is not int or not 0 <= low <= limits.PAYOUT_MINOR_MAX:
        return False
    return high is None or (type(high) is int and low < high <= limits.PAYOUT_MINOR_MAX)


def _entries(value: object) -> int:
    """Members and elements over all levels; a map's names count as its values do."""
    if isinstance(value, Mapping):
        return 2 * len(value) + sum(_entries(each) for each in value.values())
    if isinstance(value, list | tuple):
        return len(value) + sum(_entries(each) for each in value)
    return 0
