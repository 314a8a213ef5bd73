"""Answers of the console: JSON and problem documents (RFC 9457). None repeats what was sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from aiohttp import web

from headwater.errors import RequestRefused
from headwater.model.reasons import REASONS, status_of

PROBLEM: Final = "application/problem+json"
JSON: Final = "application/json"

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Server": "headwater",
}


class Fault(msgspec.Struct, frozen=True):
    """One field at fault."""

    field: str
    code: str
    detail: str


class Problem(msgspec.Struct, frozen=True):
    """Why a request was refused."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[Fault]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler gives back: a body to encode as JSON, or bytes of another type, whole or as
    they come.
    """

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON

    def response(self) -> web.Response:
        is_raw = isinstance(self.body, bytes | AsyncIterator)
        raw = self.body if is_raw else msgspec.json.encode(self.body)
        headers = {**_HEADERS, "Content-Type": self.content_type, **self.headers}
        return web.Response(status=self.status, body=raw, headers=headers)


def problem(refusal: RequestRefused) -> web.Response:
    """The problem document of a refusal."""
    status = refusal.status or status_of(refusal.code)
    reason = REASONS.get(refusal.code)
    meaning = reason.meaning if reason else "The request is refused."
    document = msgspec.to_builtins(
        Problem(
            type=f"urn:headwater:reason:{refusal.code}",
            title=meaning,
            status=status,
            code=refusal.code,
            detail=refusal.detail or meaning,
            errors=[Fault(fault.field, fault.code, fault.detail) for fault in refusal.faults],
        )
    )
    return Answer(
        {**document, **refusal.extra}, status, refusal.headers, content_type=PROBLEM
    ).response()
