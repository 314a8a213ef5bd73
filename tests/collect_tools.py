"""Events of the tag, as a page of the shop sends them to an edge of the tests."""

from __future__ import annotations

import json
from typing import Any

from edge_tools import IDENTITY_KEY, Reply, Running
from headwater import _core, ids

SHOP = "https://shop.example"
HOST = "go.shop.example"
CLICK = ids.event_text("clk", bytes(range(16)))


def send(edge: Running, _type: Any = "page", _cookie: str = "", **fields: Any) -> Reply:
    """An event as the tag on the shop's page sends it; `_`-names are of the request."""
    headers = {"Content-Type": "text/plain;charset=UTF-8", "Origin": SHOP, "Host": HOST}
    for name in ("Origin", "Host", "Content-Type", "Sec-GPC", "Referer"):
        if (value := fields.pop("_" + name.replace("-", "_"), "")) is None:
            del headers[name]
        elif value:
            headers[name] = value
    if _cookie:
        headers["Cookie"] = f"hw_visitor={_cookie}"
    body = {"program": "check", "type": _type, **fields}
    return edge.call("POST", "/v1/collect", json.dumps(body).encode(), headers)


def sale(edge: Running, **fields: Any) -> Reply:
    return send(edge, "conversion", **{"event": "sale", "order_id": "T-1", "amount": "5", **fields})


def digest(name: str, value: str) -> bytes:
    found = _core.identifier_digest(IDENTITY_KEY, 1, name, value)
    assert found is not None
    return found


def visitor_of(reply: Reply) -> str:
    name, _, rest = reply.headers["Set-Cookie"].partition("=")
    assert name == "hw_visitor"
    return rest.partition(";")[0].partition(".")[0]
