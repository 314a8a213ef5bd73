"""The description of the events API (OpenAPI 3.1), made of the types its routes read.

The public listener serves it: who integrates a shop has no way to the management API.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
from aiohttp import web

from headwater import __version__, limits
from headwater.edge.context import Edge
from headwater.edge.fields import ClickIn, ConversionIn, IdentifyIn
from headwater.edge.responses import PROBLEM, SERVER
from headwater.edge.shopify import PREFIX, SIGNATURE, TOPIC, TOPICS, WEBHOOK_ID
from headwater.model.aliases import STATUS_LISTS

PATH: Final = "/openapi.json"
_JSON: Final = "application/json"
_TEXT: Final = "text/plain"
_REF: Final = "#/components/schemas/{name}"
_KEY: Final[list[Any]] = [{"key": []}]
_SIGNED: Final[list[Any]] = [{"shopify": []}]
_OPEN: Final[list[Any]] = []
_MEANINGS: Final = {
    200: "As asked, or taken before.",
    201: "Taken, and decided where it is a conversion.",
    202: "Taken and safe, and not decided yet.",
    207: "Each event by itself, in order.",
    400: "Not well-formed.",
    401: "No key, or not a valid one.",
    403: "The key does not reach this, or the method is switched off.",
    404: "There is no such conversion, or it is not yours.",
    405: "The route does not take this method.",
    408: "The body did not arrive in time.",
    409: "The order, or the Idempotency-Key, came before with another content.",
    413: "The body is too large.",
    415: "The body's type or encoding is not taken.",
    417: "The only expectation taken is 100-continue.",
    422: "A field is at fault; all of them are listed.",
    503: "Not accepted; retry after the time given.",
}
_READ_BODY: Final = (400, 401, 403, 405, 408, 413, 415, 417, 422, 503)
# A postback's status lists and controls, beside the fields of a conversion.
_POSTBACK: Final = ("token", "return", *STATUS_LISTS)
_FLAT: Final = {"items", "properties", "payment"}


class FieldProblem(msgspec.Struct):
    """One field at fault."""

    field: str
    code: str
    detail: str


class Problem(msgspec.Struct):
    """Why a request was refused (RFC 9457); `code` is one of `headwater reasons`."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldProblem]
    conversion_id: str | None = None


class ClickOut(msgspec.Struct):
    click_id: str
    warnings: list[str]


class IdentifyOut(msgspec.Struct):
    event_id: str
    warnings: list[str]


class CreditOut(msgspec.Struct):
    """`click_id` is null where the use of a promo code earned it."""

    partner_id: str
    click_id: str | None
    share_ppm: int


class FraudOut(msgspec.Struct):
    """`score` is null where a partner asks."""

    score: int | None
    verdict: str
    codes: list[str]


class ConversionOut(msgspec.Struct):
    conversion_id: str
    status: Literal["attributed", "unattributed", "rejected", "pending"]
    reason: str | None
    credits: list[CreditOut]
    fraud: FraudOut
    actions: list[dict[str, Any]]
    pixels: list[dict[str, Any]]
    warnings: list[str]


class BatchRow(msgspec.Struct):
    """`status` is what the event alone would have had; `id` is null where it was refused."""

    index: int
    status: int
    id: str | None
    code: str | None


class WebhookOut(msgspec.Struct):
    """`code` says why nothing was taken; the shop need not send it again then either."""

    conversion_id: str | None
    code: str | None


class BatchEvent(msgspec.Struct):
    """An event of its type, with the fields of that type's own route."""

    type: Literal["click", "identify", "conversion"]


_TYPES: Final[tuple[Any, ...]] = (
    ClickIn, ConversionIn, IdentifyIn, BatchEvent, ClickOut, ConversionOut, IdentifyOut, BatchRow,
    WebhookOut, Problem,
)  # fmt: skip


async def get_openapi(_edge: Edge, _request: web.BaseRequest) -> web.Response:
    """GET /openapi.json: the events API's description."""
    headers = {
        "Content-Type": _JSON,
        "Cache-Control": "public, max-age=3600",
        "X-Content-Type-Options": "nosniff",
        "Server": SERVER,
    }
    return web.Response(body=_encoded(), headers=headers)


@functools.cache
def _encoded() -> bytes:
    return msgspec.json.encode(document())


def document() -> dict[str, Any]:
    """The whole description."""
    found, components = msgspec.json.schema_components(_TYPES, ref_template=_REF)
    schemas = dict(zip(_TYPES, found, strict=True))
    return {
        "openapi": "3.1.0",
        "info": {"title": "Headwater events API", "version": __version__},
        "paths": _paths(schemas, components),
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "shopify": {"type": "apiKey", "in": "header", "name": SIGNATURE},
            },
        },
    }


def _paths(schemas: Mapping[Any, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    conversion = schemas[ConversionOut]
    batch = {
        "type": "array",
        "items": schemas[BatchEvent],
        "maxItems": limits.BATCH_EVENTS_MAX,
    }
    rows = {"type": "array", "items": schemas[BatchRow]}
    refused = schemas[Problem]
    order = [_parameter(name, "query") for name in ("program", "event", "order_id", "line")]
    identifier = [_parameter("id", "path")]
    decided = {200: conversion, 201: conversion, 202: conversion}
    read = (401, 403, 404, 405, 422, 503)
    return {
        "/v1/clicks": {
            "post": _posted("click", schemas[ClickIn], {201: schemas[ClickOut]}, refused)
        },
        "/v1/identify": {
            "post": _posted("identify", schemas[IdentifyIn], {202: schemas[IdentifyOut]}, refused)
        },
        "/v1/events": {"post": _posted("batch", batch, {207: rows}, refused)},
        "/v1/conversions": {
            "post": _posted("conversion", schemas[ConversionIn], decided, refused, 409),
            "get": _operation("conversion_of_order", order, {200: conversion}, read, refused),
        },
        "/v1/conversions/{id}": {
            "get": _operation("conversion_by_id", identifier, {200: conversion}, read, refused)
        },
        PREFIX + "{program}": {"post": _webhook(schemas[WebhookOut], refused)},
        "/postback": {"get": _postback(components)},
        "/px.gif": {"get": _pixel(components)},
    }


def _posted(
    name: str, body: Any, answers: dict[int, Any], refused: Any, *more: int
) -> dict[str, Any]:
    key = {
        "name": "Idempotency-Key",
        "in": "header",
        "schema": {
            "type": "string",
            "pattern": "^[ -~]+$",
            "minLength": 1,
            "maxLength": limits.IDEMPOTENCY_KEY_BYTES_MAX,
        },
    }
    refusals = (*_READ_BODY, 409, *more)
    operation = _operation(name, [key], answers, refusals, refused)
    # MessagePack is taken as well; of it a description cannot give a schema.
    operation["requestBody"] = {"required": True, "content": {_JSON: {"schema": body}}}
    return operation


def _webhook(answer: Any, refused: Any) -> dict[str, Any]:
    topic = _parameter(TOPIC, "header")
    topic["schema"] = {"enum": sorted(TOPICS)}
    parameters = [_parameter("program", "path"), topic, _parameter(WEBHOOK_ID, "header")]
    refusals = (400, 401, 403, 405, 408, 413, 415, 417, 503)
    operation = _operation("shopify_webhook", parameters, {200: answer}, refusals, refused)
    # Shopify's own, an order or a refund: of it few fields are read.
    body = {"type": "object"}
    operation["requestBody"] = {"required": True, "content": {_JSON: {"schema": body}}}
    operation["security"] = _SIGNED
    return operation


def _operation(
    name: str,
    parameters: list[dict[str, Any]],
    answers: Mapping[int, Any],
    refusals: tuple[int, ...],
    refused: Any,
) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, schema in answers.items():
        responses[str(status)] = _response(status, {_JSON: {"schema": schema}})
    for status in sorted(set(refusals)):
        responses[str(status)] = _response(status, {PROBLEM: {"schema": refused}})
    return {
        "operationId": name,
        "parameters": parameters,
        "responses": responses,
        "security": _KEY,
    }


def _response(status: int, content: dict[str, Any]) -> dict[str, Any]:
    return {"description": _MEANINGS[status], "content": content}


def _parameter(name: str, place: str) -> dict[str, Any]:
    is_required = place == "path"
    return {"name": name, "in": place, "required": is_required, "schema": {"type": "string"}}


def _flat(components: Mapping[str, Any]) -> list[dict[str, Any]]:
    names = [name for name in components["ConversionIn"]["properties"] if name not in _FLAT]
    return [_parameter(name, "query") for name in names]


def _postback(components: Mapping[str, Any]) -> dict[str, Any]:
    text = {_TEXT: {"schema": {"type": "string"}}}
    statuses = (200, 400, 401, 403, 405, 409, 413, 422, 503)
    responses = {str(status): _response(status, text) for status in statuses}
    # The router's own refusal, before the route: a problem document as of every route.
    responses["405"] = _response(405, {PROBLEM: {"schema": {"$ref": _REF.format(name="Problem")}}})
    parameters = _flat(components) + [_parameter(name, "query") for name in _POSTBACK]
    return {
        "operationId": "postback",
        "parameters": parameters,
        "responses": responses,
        "security": _OPEN,
    }


def _pixel(components: Mapping[str, Any]) -> dict[str, Any]:
    image = {"image/gif": {"schema": {"type": "string", "format": "binary"}}}
    refused = {PROBLEM: {"schema": {"$ref": _REF.format(name="Problem")}}}
    return {
        "operationId": "pixel",
        "parameters": _flat(components),
        "responses": {"200": _response(200, image), "405": _response(405, refused)},
        "security": _OPEN,
    }
