"""The description is true to the code: every route is in it, and the routes behave as it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import checks

from console_tools import RunningConsole, console_in
from headwater.console.routes import ROUTES


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


schema = schemathesis.pytest.from_fixture("api_schema")


@schema.parametrize()
@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
def test_every_route_behaves_as_described(case: schemathesis.Case, console: RunningConsole) -> None:
    case.call_and_validate(
        headers={"Authorization": f"Bearer {console.admin_key}"},
        checks=[
            checks.not_a_server_error,
            schemathesis.checks.CHECKS.get_one("status_code_conformance"),
            schemathesis.checks.CHECKS.get_one("content_type_conformance"),
            schemathesis.checks.CHECKS.get_one("response_schema_conformance"),
            schemathesis.checks.CHECKS.get_one("negative_data_rejection"),
        ],
    )


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
        assert console.call(route.method, path, key=None).status == (200 if route.is_open else 401)
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
        ("POST", "/v1/domains"),
        ("GET", "/v1/domains/allowed"),
        ("POST", "/v1/keys"),
        ("DELETE", "/v1/keys/{id}"),
        ("GET", "/v1/clicks/{id}"),
        ("GET", "/v1/conversions/{id}"),
        ("GET", "/v1/conversions/{id}/explain"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
    ],
)
def test_the_routes_others_rely_on_are_there(method: str, path: str) -> None:
    assert (method, path) in {(route.method, route.path) for route in ROUTES}
