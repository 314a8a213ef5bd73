"""The description is true to the code: every route is in it, and the routes behave as it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from console_tools import RunningConsole, console_in
from headwater.console.routes import ROUTES
from headwater.console.routing import Route

_CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "allow_header_conformance",
]


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    with console_in(tmp_path_factory.mktemp("console"), read_wait_ms=1) as running:
        for number in (1, 2):
            brand, program = running.brand_and_program(f"code-{number}")
            partner = running.made("/v1/partners", {"name": "p"})["id"]
            running.made(f"/v1/programs/{program}/partners/{partner}", {}, "PUT")
            running.made(f"/v1/programs/{program}/event-types", {"code": "sale", "kind": "sale"})
            running.made("/v1/domains", {"brand_id": brand, "domain": f"go{number}.shop.example"})
        yield running


@pytest.fixture(scope="module")
def api_schema(console: RunningConsole) -> Any:
    return schemathesis.openapi.from_url(
        f"http://127.0.0.1:{console.port}/openapi.json",
        headers={"Authorization": f"Bearer {console.admin_key}"},
    )


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_behaves_as_described(
    console: RunningConsole, api_schema: Any, route: Route, mode: GenerationMode
) -> None:
    """Method: schemathesis makes requests that fit the description, and ones that do not."""
    operation = api_schema[route.path][route.method]
    # Unknown parameters of a query are passed over, which counts as an acceptance here.
    names = [*_CHECKS, "negative_data_rejection"] if route.body else _CHECKS

    @settings(
        max_examples=15,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def behaves(case: Any) -> None:
        case.call_and_validate(
            headers={"Authorization": f"Bearer {console.admin_key}"},
            checks=CHECKS.get_by_names(names),
        )

    try:
        behaves()
    except Unsatisfiable:
        # A route without parameters and body cannot be asked wrongly.
        assert mode is GenerationMode.NEGATIVE


def test_the_description_and_the_table_of_routes_name_the_same(console: RunningConsole) -> None:
    document = console.call("GET", "/openapi.json").json
    described = {
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
    }
    assert described == {(route.method, route.path) for route in ROUTES}
    names = [
        operation["operationId"]
        for operations in document["paths"].values()
        for operation in operations.values()
    ]
    assert len(names) == len(set(names))
    for path, operations in document["paths"].items():
        for operation in operations.values():
            named = {item["name"] for item in operation["parameters"] if item["in"] == "path"}
            assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}


def test_every_described_route_is_served_and_asks_for_a_key(console: RunningConsole) -> None:
    for route in ROUTES:
        path = route.path.replace("{id}", "x").replace("{partner_id}", "x")
        path = path.replace("{event_type_id}", "x")
        assert (console.call(route.method, path, key=None).status == 401) is not route.is_open
        served = console.call(route.method, path, b"{}" if route.body else None)
        assert served.status not in (401, 405), route
        assert served.status in {*route.answers, 404, 422}, route


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/brands"),
        ("POST", "/v1/programs"),
        ("POST", "/v1/programs/{id}/event-types"),
        ("POST", "/v1/partners"),
        ("PUT", "/v1/programs/{id}/partners/{partner_id}"),
        ("POST", "/v1/links"),
        ("POST", "/v1/links/bulk"),
        ("DELETE", "/v1/links/{id}"),
        ("GET", "/v1/links/{id}/history"),
        ("GET", "/v1/links/{id}/qr.svg"),
        ("GET", "/v1/links/{id}/qr.png"),
        ("POST", "/v1/domains"),
        ("GET", "/v1/domains/allowed"),
        ("POST", "/v1/keys"),
        ("DELETE", "/v1/keys/{id}"),
        ("GET", "/v1/clicks/{id}"),
        ("GET", "/v1/conversions/{id}"),
        ("GET", "/v1/conversions/{id}/explain"),
        ("POST", "/v1/programs/{id}/promo-codes"),
        ("GET", "/v1/programs/{id}/promo-codes"),
        ("PATCH", "/v1/promo-codes/{id}"),
        ("DELETE", "/v1/promo-codes/{id}"),
        ("POST", "/v1/erasures"),
        ("GET", "/v1/erasures"),
        ("GET", "/v1/erasures/{id}"),
        ("GET", "/v1/partners/{id}/conversions/{ref}/explain"),
        ("GET", "/v1/reports/unattributed"),
        ("GET", "/v1/clicks"),
        ("GET", "/v1/reports/clicks"),
        ("GET", "/v1/reports/fraud"),
        ("GET", "/v1/reports/coverage"),
        ("GET", "/v1/reports/match-rate"),
        ("GET", "/v1/fraud-rules"),
        ("PUT", "/v1/fraud-rules"),
        ("PATCH", "/v1/programs/{id}/partners/{partner_id}"),
        ("POST", "/v1/programs/{id}/terms"),
        ("GET", "/v1/programs/{id}/terms"),
        ("GET", "/v1/actions"),
        ("POST", "/v1/actions/{id}/approve"),
        ("POST", "/v1/actions/{id}/reverse"),
        ("POST", "/v1/actions/{id}/reset"),
        ("GET", "/v1/clicks/pending"),
        ("POST", "/v1/clicks/accept"),
        ("POST", "/v1/clicks/reject"),
        ("GET", "/v1/reports/balance"),
        ("GET", "/v1/reports/cpc-payouts"),
        ("GET", "/v1/audit"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
    ],
)
def test_the_routes_others_rely_on_are_there(method: str, path: str) -> None:
    assert (method, path) in {(route.method, route.path) for route in ROUTES}
