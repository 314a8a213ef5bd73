"""One step of the book: where it stands on the log, and what it has done there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from headwater.book.settings import Settings
from headwater.book.store import Store
from headwater.model.book import Action, Booked


@dataclass(slots=True)
class Context:
    """What a rule of the book works with."""

    store: Store
    settings: Settings
    partition: int
    at_ms: int = 0
    """Engine time of the record that is looked at."""
    booked: Booked = field(default_factory=Booked)
    moved: dict[bytes, tuple[Action | None, Action]] = field(default_factory=dict)
    """Actions that the record made or moved: before it (None: there was none), and now."""

    def note_move(self, before: Action | None, after: Action) -> None:
        """Say that an action was made or has moved."""
        first = self.moved.get(after.action_id)
        self.moved[after.action_id] = (first[0] if first else before, after)


@dataclass(frozen=True, slots=True)
class Cause:
    """Why an action moves, for its history. `event_id` is what of the log gave rise to it."""

    event_id: bytes
    actor: str = "system"
    reason: str | None = None
    note: str = ""


def digest(*parts: Any) -> bytes:
    """16 bytes that stand for `parts`: texts, numbers and bytes."""
    hashed = hashlib.blake2b(digest_size=16, person=b"headwater-action")
    for part in parts:
        piece = part if isinstance(part, bytes) else str(part).encode()
        hashed.update(len(piece).to_bytes(4, "big") + piece)
    return hashed.digest()
