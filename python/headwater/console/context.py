"""What handlers are given: the console's parts, and the request as it was checked."""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar

import msgspec

from headwater import identity_key, ids, limits
from headwater.config import Config
from headwater.console.fields import parse_reference
from headwater.errors import RequestRefused
from headwater.ledger.engine import Ledger
from headwater.ledger.objects import Origin, Reference, Saved
from headwater.model.identifiers import of_email
from headwater.model.records import Identifiers

P = ParamSpec("P")
T = TypeVar("T")


class Publishing(Protocol):
    """The publisher, as handlers need it."""

    async def wait(self, revision: int, timeout_s: float) -> bool:
        """Whether a revision, and all before it, is on the log and told to the edges."""


@dataclass(frozen=True, slots=True)
class Identity:
    """From a partner's e-mail address to the identifiers a brand's events would give it."""

    data: Path

    def __call__(self, brand: int, email: str) -> Identifiers:
        """Reads the deployment's key, which blocks. Raises ConfigError, OSError."""
        if not email:
            return ()
        return of_email(identity_key.load_or_create(self.data), brand, email)


@dataclass(frozen=True, slots=True)
class Console:
    """The parts of one console process."""

    config: Config
    ledger: Ledger
    publisher: Publishing
    read_wait_ms: int = limits.READ_WAIT_MS
    publish_wait_ms: int = limits.PUBLISH_WAIT_MS
    threads: Executor | None = None
    """Whose threads call the ledger; unless given the event loop's own."""

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function of the ledger in a thread: it blocks."""
        call = partial(contextvars.copy_context().run, function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self.threads, call)

    @property
    def identify(self) -> Identity:
        """What a partner's address is to a brand."""
        return Identity(self.config.data)

    async def identity_key(self) -> bytes:
        """The deployment's key of identifier digests. Raises ConfigError, OSError."""
        return await asyncio.to_thread(identity_key.load_or_create, self.config.data)

    async def published(self, saved: Saved, object_id: str) -> None:
        """Wait until the log and the edges know of a write. Raises RequestRefused when not."""
        await self.published_to(saved.revision, object_id)

    async def published_to(self, revision: int, object_id: str) -> None:
        """As `published`, of all up to a revision."""
        if not await self.publisher.wait(revision, self.publish_wait_ms / 1000):
            raise RequestRefused(
                "not_published", headers={"Retry-After": "1"}, extra={"id": object_id}
            )


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose key, path, query and body have been checked."""

    path: dict[str, str]
    query: Any
    body: Any
    warnings: list[str]
    key: dict[str, Any] | None = None
    """The row of the caller's key; None where none is asked for."""
    target: str = ""
    """The path as it was asked for."""
    idempotency_key: str | None = None

    def reference(self, name: str, prefix: str) -> Reference:
        """The object a path segment names. Raises RequestRefused `not_found`."""
        try:
            return parse_reference(prefix, self.path[name])
        except ValueError:
            raise not_found() from None

    def event(self, prefix: str) -> bytes:
        """The event id in the path. Raises RequestRefused `not_found` when it is none."""
        try:
            return ids.parse_event(prefix, self.path["id"])
        except ValueError:
            raise not_found() from None


def not_found() -> RequestRefused:
    return RequestRefused("not_found")


def origin(body: msgspec.Struct, *scope: object) -> Origin:
    """Where an object comes from: its external id, and a digest of the whole request."""
    raw = msgspec.msgpack.encode([type(body).__name__, [str(part) for part in scope], body])
    digest = hashlib.blake2b(raw, digest_size=16).digest()
    return Origin(external_id=getattr(body, "external_id", None), request_digest=digest)
