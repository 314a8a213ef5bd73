"""The API's description (OpenAPI 3.1), made of the table of routes and the types it names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from headwater import __version__, limits
from headwater.console.answers import JSON, PROBLEM, Problem
from headwater.console.bodies import IDEMPOTENCY_KEY
from headwater.console.routing import Route

_REF: Final = "#/components/schemas/{name}"
_MEANINGS: Final = {
    200: "As asked.",
    201: "Made.",
    202: "Taken, and not done yet.",
    207: "Each by itself, in order.",
    400: "Not well-formed.",
    401: "No key, or not a valid one.",
    403: "The key's scope does not reach this.",
    404: "There is no such object.",
    405: "The route does not take this method.",
    409: "Another object holds this name already.",
    413: "The body is too large.",
    415: "The body's type or encoding is not taken.",
    422: "A field is at fault; all of them are listed.",
    429: "Too many reports at once; again after a second.",
    500: "A fault of ours.",
    503: "Not done, or not known to be done yet; see the code.",
}

_IDEMPOTENCY_KEY: Final = {
    "name": IDEMPOTENCY_KEY,
    "in": "header",
    "required": False,
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": limits.IDEMPOTENCY_KEY_BYTES_MAX,
        "pattern": "^[!-~]+$",
    },
}


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The whole description."""
    types = _types(routes)
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    schema_of = dict(zip(map(repr, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(
            route, schema_of, components
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Headwater management API", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _types(routes: Sequence[Route]) -> list[Any]:
    found: dict[str, Any] = {repr(Problem): Problem}
    for route in routes:
        for kind in (route.body, route.query, *route.answers.values()):
            if kind is not None:
                found.setdefault(repr(kind), kind)
    return list(found.values())


def _operation(
    route: Route, schema_of: dict[str, Any], components: dict[str, Any]
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        "parameters": [
            *_path_parameters(route),
            *_query_parameters(route, components),
            *([_IDEMPOTENCY_KEY] if route.is_keyed else []),
        ],
        "responses": _responses(route, schema_of),
        "security": [] if route.is_open else [{"key": []}],
    }
    if route.body is not None:
        operation["requestBody"] = {
            "required": route.is_body_required,
            "content": {JSON: {"schema": schema_of[repr(route.body)]}},
        }
    return operation


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1, "maxLength": 300},
        }
        for name in route.parameters
    ]


def _query_parameters(route: Route, components: dict[str, Any]) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    shape = components[route.query.__name__]
    return [
        {
            "name": name,
            "in": "query",
            "required": name in shape.get("required", ()),
            "schema": _present(schema),
        }
        for name, schema in shape["properties"].items()
    ]


def _present(schema: dict[str, Any]) -> dict[str, Any]:
    """A query has no null: a parameter that may be left out is there or not."""
    options = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    found = options[0] if len(options) == 1 else schema
    return {name: value for name, value in found.items() if name != "default" or value is not None}


def _responses(route: Route, schema_of: dict[str, Any]) -> dict[str, Any]:
    responses = {}
    for status, kind in route.answers.items():
        schema = {"type": "string"} if kind is None else schema_of[repr(kind)]
        responses[str(status)] = {
            "description": _MEANINGS[status],
            "content": {name: {"schema": schema} for name in route.content_types},
        }
    for status in sorted(_refusals(route)):
        responses[str(status)] = {
            "description": _MEANINGS[status],
            "content": {PROBLEM: {"schema": schema_of[repr(Problem)]}},
        }
    return responses


def _refusals(route: Route) -> set[int]:
    found = {400, 405, 415, 500, 503, *route.refusals}
    if not route.is_open:
        found |= {401, 403}
    if route.is_report:
        found.add(429)
    if route.body is not None:
        found |= {413, 422}
    if route.query is not None:
        found.add(422)
    return found
