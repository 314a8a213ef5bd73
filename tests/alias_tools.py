"""A program with names of other networks, at an edge of the tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from edge_tools import Running, program
from headwater import ids

CLICK = ids.event_text("clk", ids.event_id(5))


@pytest.fixture(autouse=True)
def only_own_aliases(edge: Running) -> Iterator[None]:
    yield
    edge.edge.table.apply("program", 1, program())


def use(edge: Running, *presets: str, **own: str) -> None:
    """Give the program `check` these presets and names of its own."""
    edge.edge.table.apply("program", 1, program(alias_presets=list(presets), aliases=own))


def postback(edge: Running, query: str | dict[str, Any]) -> tuple[int, str]:
    text = query if isinstance(query, str) else urlencode(query)
    reply = edge.call("GET", f"/postback?program=check&{text}")
    assert reply.headers.get_content_type() == "text/plain"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    return reply.status, reply.body.decode()
