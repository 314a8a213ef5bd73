"""What every handler is given: the table, the journal, the keys, the counters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from headwater import clock, limits
from headwater.config import Config
from headwater.edge.accept import DeadlineQueue
from headwater.edge.client import TrustedProxies
from headwater.edge.health import LedgerWatch
from headwater.edge.links import LinkTable
from headwater.edge.memory import Memory
from headwater.edge.meters import Meters
from headwater.edge.network import Networks
from headwater.edge.targets import Targets
from headwater.journal.lane import Block, Waiter

Decision = dict[str, Any]


class Writer(Protocol):
    """The journal as an edge uses it: see headwater.journal.writer."""

    @property
    def redis_ok(self) -> bool: ...
    @property
    def accepting(self) -> bool: ...
    @property
    def spool_bytes(self) -> int: ...
    @property
    def pending_frames(self) -> int: ...

    gather: Callable[[], None]
    """Asked before each frame, to `put` what waits elsewhere. Must not raise."""

    def submit(self, partition: int, record: bytes) -> asyncio.Future[bool]:
        """True when safe in Redis, False when safe in the spool alone; raises JournalFull."""
        ...

    def put(self, partition: int, records: Sequence[bytes] | Block, waiter: Waiter) -> None:
        """The same with several, all or none; `waiter` is told of them."""
        ...


class Hub(Protocol):
    """Decisions on their way back: see headwater.journal.decisions."""

    def expect(self, event_id: bytes) -> asyncio.Future[Any]: ...
    def forget(self, event_id: bytes) -> None: ...
    async def get(self, conversion_id: str) -> Decision | None: ...
    async def lookup(self, conversion_id: str, timeout_s: float) -> Decision | None: ...


class Feed(Protocol):
    """The configuration's state: see headwater.journal.config_feed."""

    @property
    def revision(self) -> int: ...
    @property
    def fresh(self) -> bool: ...


@dataclass(slots=True)
class Edge:
    """One edge process. Handlers read it; only the server changes it."""

    config: Config
    table: LinkTable
    writer: Writer
    hub: Hub
    feed: Feed
    memory: Memory
    ledger: LedgerWatch
    identity_key: bytes
    gate: Callable[[], bool] = lambda: True
    """False until the rest of the system is up; /readyz waits for it."""
    networks: Networks = field(default_factory=Networks)
    targets: Targets = field(default_factory=Targets)
    proxies: TrustedProxies = field(init=False)
    meters: Meters = field(default_factory=Meters)
    now_ms: Callable[[], int] = clock.now_ms
    click_wait: DeadlineQueue = field(init=False)
    event_wait: DeadlineQueue = field(init=False)
    decision_wait: DeadlineQueue = field(init=False)
    waiting_decisions: int = 0
    draining: bool = False

    def __post_init__(self) -> None:
        self.proxies = TrustedProxies(self.config.trusted_proxies)
        self.click_wait = DeadlineQueue(self.config.accept_deadline_ms / 1000)
        self.event_wait = DeadlineQueue(limits.SAFE_WAIT_S)
        self.decision_wait = DeadlineQueue(limits.DECISION_WAIT_MS / 1000)
