"""Terms of a file, tried on past traffic in the place of those that were."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from headwater import clock, ids, limits
from headwater.console import bodies, terms_values
from headwater.console.fields import parse_reference
from headwater.console.terms_shapes import TermsIn
from headwater.errors import ConfigError, RequestRefused
from headwater.ledger import queries
from headwater.ledger.engine import Ledger
from headwater.ledger.schema import partners
from headwater.ledger.terms import TEMPLATE, Owner, control_of, owner_of
from headwater.model.records import ControlBody, Kind, Record, Source, Trust, encode
from headwater.ops.simulate_replay import ObjectName

Row = Mapping[str, Any]
Value = dict[str, Any]

# No terms of a ledger have this number: it is the largest, and they are counted from 1.
_NUMBER: Final = (1 << 63) - 1
# What says when terms hold, and not what they pay.
_OF_TIME: Final = ("version", "from_ms", "until_ms")


class Trial(NamedTuple):
    """Terms that are tried."""

    name: str
    """What they are called in the report."""
    partner: int
    before: Value
    """The owner's terms in force now, without their time; empty: there are none."""
    after: Value
    replaced: Mapping[ObjectName, Value | None]
    """Control values in the place of those on the log; None: the object is deleted."""

    def record(self, brand: int) -> bytes:
        """The control record that the changed replay reads as the terms, and the other as none."""
        body = ControlBody("terms", _NUMBER, 1, None)
        head = (Kind.CONTROL, bytes(16), brand, 0, None, Trust.SERVER, Source.CONSOLE)
        return encode(Record(*head, body))


def read_trial(ledger: Ledger, program: Row, file: Path) -> Trial:
    """The terms in a file: one JSON object, as the management API takes them.

    Raises ConfigError with every fault.
    """
    try:
        with file.open("rb") as opened:
            raw = opened.read(limits.CONSOLE_BODY_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError([f"--terms: {file}: {error.strerror}"]) from error
    if len(raw) > limits.CONSOLE_BODY_BYTES_MAX:
        raise ConfigError([f"--terms: {file}: over {limits.CONSOLE_BODY_BYTES_MAX} bytes"])
    try:
        body, _warnings = bodies.decode(TermsIn, bodies.parse(raw))
        owner = owner_of(ledger, program, _partner(ledger, body.partner_id))
        value = terms_values.tried_value(owner, body)
    except RequestRefused as error:
        told = [f"--terms: {fault.field}: {fault.detail}" for fault in error.faults]
        raise ConfigError(told or [f"--terms: {error}"]) from error
    replaced: dict[ObjectName, Value | None] = {("terms", row["id"]): None for row in owner.own}
    replaced["terms", _NUMBER] = control_of(value)
    return Trial(_name(owner), owner.partner, _in_force(owner), _timeless(value), replaced)


def _partner(ledger: Ledger, reference: str | None) -> int:
    if reference is None:
        return TEMPLATE
    row = queries.object_row(ledger, partners, parse_reference("prt", reference))
    if row is None:
        raise ConfigError([f"--terms: partner_id: there is no partner {reference!r}"])
    return int(row["id"])


def _name(owner: Owner) -> str:
    return f"terms of {ids.object_text('prt', owner.partner)}" if owner.partner else "terms"


def _in_force(owner: Owner) -> Value:
    row = terms_values.in_force(owner.own, clock.now_ms())
    return {} if row is None else _timeless(row["value"])


def _timeless(value: Row) -> Value:
    return {name: each for name, each in value.items() if name not in _OF_TIME}
