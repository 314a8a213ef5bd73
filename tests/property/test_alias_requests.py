"""Whatever is sent under whatever names, by every route that takes them, has a planned answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alias_tools import CLICK, use
from edge_tools import KEY, Running, serving
from headwater.edge.flat import _OWN
from headwater.model import aliases

FUZZ = settings(max_examples=400, deadline=None, derandomize=True, database=None)
NAMES = sorted(_OWN | aliases.TAKEN | aliases.merged(aliases.PRESETS, {}).keys())
# A shop's good order, of which each example spoils a part.
GOOD = {"program": "check", "event": "sale", "order_id": "A", "customer_id": "c", "token": KEY}
WORDS = (
    "", "x", "sale", "rejected", "billed", "5", "-1", "1e9", "check", "other", "EUR", "new", "true",
    CLICK, "a@shop.example", "2026-01-01T00:00:00Z", "203.0.113.9", "\x00", "\r\n", "é", "v" * 300,
)  # fmt: skip
texts = st.one_of(st.sampled_from(WORDS), st.text(max_size=20))
scalars = st.one_of(
    texts, st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none()
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
cased = st.tuples(st.sampled_from(NAMES), st.sampled_from([str, str.upper, str.title])).map(
    lambda pair: pair[1](pair[0])
)
queries = st.dictionaries(cased, texts, max_size=6)
bodies = st.dictionaries(cased, anything, max_size=6)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("edge")) as running:
        use(running, *aliases.PRESETS)
        yield running


def settle(edge: Running) -> None:
    edge.take()
    edge.hub.stored.clear()


@FUZZ
@given(queries)
@example({"properties": "x", "status": "a", "sale_status": "a"})
def test_a_query(edge: Running, sent: dict[str, str]) -> None:
    query = urlencode({**GOOD, **sent})
    assert edge.call("GET", f"/postback?{query}").status < 500
    settle(edge)
    assert edge.call("GET", f"/px.gif?{query}").status == 200
    assert len(edge.take()) == 1, "a conversion, or a rejection with its reason"


@FUZZ
@given(bodies, st.sampled_from(["conversions", "clicks", "identify"]))
@example({"items": [None], "sku1": "x"}, "conversions")
def test_a_body(edge: Running, sent: dict[str, Any], route: str) -> None:
    body = {**GOOD, "partner": "prt_7", **sent}
    assert edge.post(f"/v1/{route}", body).status < 500
    kind = route.removesuffix("s")
    rows = edge.post("/v1/events", [{"type": kind, **body}])
    assert rows.status == 207
    assert rows.json[0]["status"] < 500
    raw = json.dumps({"type": kind, **body}).encode()
    assert edge.call("POST", "/v1/collect", raw, {"Content-Type": "text/plain"}).status < 500
    settle(edge)
