"""Routes about the system itself: health, metrics, the API's description."""

from __future__ import annotations

import os
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from headwater.console.answers import Answer
from headwater.console.context import Console, Request
from headwater.console.views import View
from headwater.ledger import queries


class Health(View):
    status: str


async def healthz(console: Console, request: Request) -> Answer:  # noqa: ARG001
    await console.run(queries.engine_times_ms, console.ledger)
    return Answer(Health(status="ok"))


async def metrics(console: Console, request: Request) -> Answer:  # noqa: ARG001
    return Answer(await console.run(_collect), content_type=CONTENT_TYPE_LATEST)


def _collect() -> bytes:
    """All processes' metrics under `up`, this one's otherwise."""
    registry: Any = REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
