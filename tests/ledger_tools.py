"""A ledger in a temporary folder, and outcome rows as the engine gives them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack

from headwater import _core, ids
from headwater.ledger import matching
from headwater.ledger.engine import Ledger, open_ledger
from headwater.ledger.matching import PartitionBatch, PartitionRow
from headwater.ledger.objects import Origin, create_brand, create_program
from headwater.model.attribution import DEFAULTS
from headwater.model.click_cells import ClickRows
from headwater.model.records import (
    NO_CLIENT,
    ClickBody,
    ConversionBody,
    ErasureBody,
    Kind,
    Money,
    Record,
    Source,
    Trust,
    encode,
)

NOW_MS = 1_790_000_000_000
PROGRAM = {
    "code": "check",
    "name": "Check",
    "destination_url": "https://shop.example/landing?a=b%2Fc+d#top",
    "deep_link_hosts": ["shop.example"],
    "timezone": "UTC",
    "currency": "EUR",
    "click_window_seconds": 86_400,
    "attribution": dict(DEFAULTS),
    "click_param": "click_id",
    "consent_default": "granted",
    "forward_params": [],
    "allowed_origins": [],
    "default_country": None,
    "methods": None,
    "aliases": {},
    "alias_presets": [],
    "fraud": {},
    "utm": {},
    "utm_mode": "keep",
    "link_signing": "off",
    "link_salts": [],
    "shopify_secrets": [],
}


def identify(brand: int, email: str) -> tuple[tuple[int, bytes], ...]:
    """A stand-in of the digests of a partner's address."""
    return ((3, f"{brand}/{email}".encode()),) if email else ()


@contextmanager
def ledger_in(folder: Path, partitions: int = 2) -> Iterator[Ledger]:
    """An open ledger with its partitions."""
    ledger = open_ledger(f"sqlite:///{folder / 'ledger.sqlite'}")
    try:
        matching.ensure_partitions(ledger, partitions)
        yield ledger
    finally:
        ledger.close()


def with_program(ledger: Ledger) -> tuple[int, int]:
    """A brand and its program; their numbers."""
    brand = create_brand(ledger, Origin(), name="Brand").row["id"]
    program = create_program(ledger, Origin(), brand=brand, columns=PROGRAM).row["id"]
    return brand, program


def acquired(ledger: Ledger, partition: int = 0, owner: str = "tests") -> PartitionRow:
    (row,) = matching.acquire(ledger, [partition], owner, NOW_MS, 5000, force=True)
    return row


def batch(
    row: PartitionRow, to: tuple[int, int] | None = None, **outcomes: list[Any]
) -> PartitionBatch:
    """What was applied from the row's position on."""
    return PartitionBatch(
        partition=row.partition,
        epoch=row.epoch,
        generation=row.generation,
        from_position=row.position,
        to_position=to or (row.position[0] + 1, 0),
        chain_digest=bytes([1]) * 32,
        time_ms=NOW_MS,
        outcomes={**outcomes, "clicks": click_rows(outcomes.get("clicks", ()))},
    )


def click_rows(rows: Iterable[Sequence[Any]]) -> ClickRows:
    """Rows of clicks as an engine would have told them."""
    told = msgpack.packb({"clicks": [tuple(row) for row in rows]})
    return _core.split_outcomes(told)[0]


def click_outcome(
    at_ms: int = NOW_MS,
    *,
    brand: int = 1,
    program: int = 1,
    partner: int = 1,
    link: int = 1,
    flags: int = 1,
) -> tuple[Any, ...]:
    """[click_id, brand, program, partner, link, accept, touch, trust, source, flags, verdict,
    counted, is_unique, score, raw_ppm, fraud, record].
    """
    click_id = ids.event_id(at_ms)
    body = ClickBody(program, partner, link, flags, (), {"sub1": "x/y"}, NO_CLIENT)
    record = encode(
        Record(Kind.CLICK, click_id, brand, at_ms, None, Trust.BROWSER, Source.LINK, body)
    )
    head = (click_id, brand, program, partner, link, at_ms, at_ms)
    scored = ("accept", "counted", 1, 0, 0, b"")
    return (*head, int(Trust.BROWSER), int(Source.LINK), flags, *scored, record)


def revised_outcome(
    click_id: bytes,
    revision: int,
    *,
    verdict: str = "review",
    counted: str = "counted",
    is_unique: int = 1,
    score: int = 50,
    fraud: bytes = b"",
    cause: str = "IP_VELOCITY",
) -> tuple[Any, ...]:
    """A row of the outcomes' "decision_revised"."""
    scored = (verdict, counted, is_unique, score, score * 10_000, fraud)
    return (click_id, 1, NOW_MS + revision, revision, *scored, cause, ids.event_id(NOW_MS))


def conversion_outcome(
    conversion_id: bytes,
    *,
    revision: int = 1,
    credits_given: tuple[tuple[int, bytes | None, int], ...] = (),
    reason: str | None = None,
    explain: bytes = b"\x80",
    accept_ms: int = NOW_MS,
    amount_minor: int = 1234,
    brand: int = 1,
    program: int = 1,
    event_type: int = 1,
    order_id: str = "A-1",
    line: str = "main",
    flags: int = 0,
    verdict: str = "accept",
    score: int = 0,
    fraud: bytes = b"",
) -> tuple[Any, ...]:
    """A row of the outcomes' "conversions"."""
    money = Money(amount_minor, "EUR", None, None, None)
    body = ConversionBody(
        conversion_id, 1, 1, "A-1", "main", 0, None, (), money, None, "new", (), {}, NO_CLIENT, None
    )
    record = encode(
        Record(
            Kind.CONVERSION,
            ids.event_id(accept_ms),
            1,
            accept_ms,
            None,
            Trust.SERVER,
            Source.S2S,
            body,
        )
    )
    status = "attributed" if credits_given else "unattributed"
    return (
        *(conversion_id, brand, program, event_type, order_id, line),
        *(accept_ms, accept_ms, status, reason),
        *(amount_minor, "EUR", flags, revision, credits_given, explain, bytes(16)),
        *(verdict, score, score * 10_000, fraud, record),
    )


def report_outcome(conversion_id: bytes, outcome: str = "created") -> tuple[Any, ...]:
    """A row of the outcomes' "reports"."""
    event_id = ids.event_id(NOW_MS)
    return (event_id, conversion_id, 1, NOW_MS, 1, int(Source.S2S), outcome, (1 << 62) + 1, b"r")


def candidate(partner: int, click_id: bytes | None, outcome: str, **members: Any) -> dict[str, Any]:
    """One touch of an explanation."""
    return {
        "click_id": click_id,
        "partner": partner,
        "touch_ms": NOW_MS,
        "class": "click",
        "path": [],
        "outcome": outcome,
        "share_ppm": 1_000_000 if outcome == "credited" else 0,
        **members,
    }


def hop(start: list[Any], end: list[Any], event_id: bytes) -> dict[str, Any]:
    """One step of a path, or one that was cut."""
    return {"from": start, "to": end, "at_ms": NOW_MS, "event_id": event_id}


def explanation(*candidates: dict[str, Any], **members: Any) -> bytes:
    """What the engine says of a decision."""
    told: bytes = msgpack.packb(
        {
            "members": [],
            "candidates": list(candidates),
            "candidates_omitted": 0,
            "hubs": [],
            "cut": [],
            "truncated": False,
            "evidence": "server",
            "links": "server",
            "model": "last_click",
            "nearest_miss": None,
            "config_hash": bytes(16),
            **members,
        }
    )
    return told


def erasure_outcome(
    event_id: bytes,
    *,
    brand: int = 1,
    identifiers: tuple[tuple[int, bytes], ...] = (),
    dry_run: bool = False,
    scope: str = "identifier",
    **report: Any,
) -> tuple[Any, ...]:
    """A row of the outcomes' "erasures"."""
    members = {"identifiers": identifiers, "shared": [], "hubs": [], "cut": []}
    body = ErasureBody(scope, dry_run, False, identifiers)
    record = encode(
        Record(Kind.ERASURE, event_id, brand, NOW_MS, None, Trust.SERVER, Source.CONSOLE, body)
    )
    told = msgpack.packb({**members, "clicks": 0, "orders": 0, **report})
    return (event_id, brand, NOW_MS, scope, dry_run, told, record)


def late_evidence_outcome(
    event_id: bytes, conversion_id: bytes, *, kind: int = 1, partners: tuple[int, ...] = (1,)
) -> tuple[Any, ...]:
    """A row of the outcomes' "late_evidence"."""
    return (event_id, conversion_id, 1, NOW_MS, kind, list(partners), b"r")
