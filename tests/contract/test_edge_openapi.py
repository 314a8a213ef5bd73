"""The events API's description is true to the code: schemathesis asks every route it names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from requests import PreparedRequest
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

import shopify_tools
from edge_tools import KEY, Running, serving
from headwater.edge import openapi, shopify
from headwater.edge.routes import ROUTES

_CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
]
OPERATIONS = [
    (method, path)
    for path, operations in openapi.document()["paths"].items()
    for method in operations
]
# For people, for browsers and for machines that look after this one: no part of the events API.
_NOT_DESCRIBED = {
    "/tag.js", "/v1/collect", "/healthz", "/readyz", "/robots.txt", "/.well-known/gpc.json",
    openapi.PATH,
}  # fmt: skip


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("edge")) as running:
        shopify_tools.configure(running, shopify_tools.SECRET)
        yield running


def sign(request: PreparedRequest) -> PreparedRequest:
    """The credentials of every route: a server's key, and a shop's signature of the body."""
    request.headers["Authorization"] = f"Bearer {KEY}"
    if shopify.PREFIX in str(request.url):
        body = request.body or b""
        raw = body.encode() if isinstance(body, str) else body
        request.headers[shopify.SIGNATURE] = shopify_tools.signed(raw)
    return request


@pytest.fixture(scope="module")
def api_schema(edge: Running) -> Any:
    return schemathesis.openapi.from_url(f"http://127.0.0.1:{edge.port}{openapi.PATH}")


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_route_behaves_as_described(
    edge: Running, api_schema: Any, method: str, path: str, mode: GenerationMode
) -> None:
    """Method: schemathesis makes requests that fit the description, and ones that do not."""
    operation = api_schema[path][method.upper()]

    @settings(
        max_examples=40,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def behaves(case: Any) -> None:
        case.call_and_validate(auth=sign, checks=CHECKS.get_by_names(_CHECKS))

    try:
        behaves()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE
    edge.take()
    edge.hub.stored.clear()


@pytest.mark.parametrize("outcome", ["created", "repeat", "conflict", None])
def test_an_order_is_answered_as_described(
    edge: Running, api_schema: Any, outcome: str | None
) -> None:
    """What no made-up request comes to: a known program's order, in each of its ends."""
    edge.hub.outcome = outcome
    body = {"program": "check", "event": "sale", "order_id": "A-1", "customer_id": "c"}
    operation = api_schema["/v1/conversions"]["POST"]
    case = operation.Case(body=body, media_type="application/json")
    response = case.call(headers={"Authorization": f"Bearer {KEY}"})
    case.validate_response(response, checks=CHECKS.get_by_names(_CHECKS))
    expected = {"created": 201, "repeat": 200, "conflict": 409, None: 202}
    assert response.status_code == expected[outcome]
    edge.hub.outcome = "created"
    edge.take()


@pytest.mark.parametrize(
    ("body", "code"), [(shopify_tools.order(), None), ({}, "order_id_required"), ([], "invalid")]
)
def test_a_shops_webhook_is_answered_as_described(
    edge: Running, api_schema: Any, body: Any, code: str | None
) -> None:
    operation = api_schema["/v1/shopify/{program}"]["POST"]
    case = operation.Case(
        path_parameters={"program": "check"},
        headers={shopify.TOPIC: "orders/create"},
        body=body,
        media_type="application/json",
    )
    response = case.call(auth=sign)
    case.validate_response(response, checks=CHECKS.get_by_names(_CHECKS))
    assert (response.status_code, response.json()["code"]) == (200, code)
    edge.take()


def test_the_description_and_the_routes_name_the_same() -> None:
    served = {
        (method.lower(), path)
        for path, route in ROUTES.items()
        for method in route.methods
        if path not in _NOT_DESCRIBED and method not in ("HEAD", "OPTIONS")
    }
    by_prefix = {("get", "/v1/conversions/{id}"), ("post", "/v1/shopify/{program}")}
    assert served | by_prefix == set(OPERATIONS)


def test_every_described_route_of_servers_asks_for_a_key(edge: Running) -> None:
    for path, operations in openapi.document()["paths"].items():
        for method, operation in operations.items():
            body = b"{}" if method == "post" else None
            asked = path.replace("{id}", "x").replace("{program}", "check")
            answer = edge.call(method.upper(), asked, body)
            asks = bool(operation["security"]) or path == "/postback"
            assert (answer.status == 401) is asks, path
