"""Every error Headwater raises on purpose, in one tree.

HeadwaterError
├── ConfigError            the configuration is wrong; holds every fault found, not the first
├── RequestRefused         a request is wrong; holds a reason code and the fields at fault
├── JournalError           the buffer cannot take or give frames
│   ├── JournalFull        a bound of the spool is reached: the event is not accepted
│   └── UnsafeRedis        the Redis server would lose data; says the command that mends it
├── LedgerError            the ledger cannot be used
│   ├── Fenced             another owner took the partition: this process must stop
│   └── SchemaMismatch     the ledger was written by another version
└── ReplayMismatch         what was rebuilt differs from what was committed
"""

from __future__ import annotations

from dataclasses import dataclass


class HeadwaterError(Exception):
    """Base of the tree."""


class ConfigError(HeadwaterError):
    """The configuration cannot be used. `faults` holds every fault, one line each."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One field of a request that is at fault, with a reason code and a sentence."""

    field: str
    code: str
    detail: str


class RequestRefused(HeadwaterError):
    """A request that is not taken. `code` is one of `headwater.model.reasons`.

    `faults` names the fields; `headers` are added to the answer (Retry-After); `extra` are
    members added to the problem document (conversion_id of an order conflict).
    """

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        status: int | None = None,
        faults: tuple[FieldFault, ...] = (),
        headers: dict[str, str] | None = None,
        extra: dict[str, object] | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail
        self.status = status
        self.faults = faults
        self.headers = headers or {}
        self.extra = extra or {}


class JournalError(HeadwaterError):
    """The buffer cannot take or give frames."""


class JournalFull(JournalError):
    """A bound of the spool is reached, by bytes or by age: the event is not accepted."""


class UnsafeRedis(JournalError):
    """The Redis server's settings would lose accepted events."""


class LedgerError(HeadwaterError):
    """The ledger cannot be used."""


class Fenced(LedgerError):
    """Another owner holds the partition now; nothing more may be committed by this process."""


class SchemaMismatch(LedgerError):
    """The ledger's schema is not the one this version reads and writes."""


class ReplayMismatch(HeadwaterError):
    """The archive, replayed, gives another chain digest or snapshot than the ledger holds."""
