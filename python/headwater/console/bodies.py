"""Bodies and queries: read within bounds, decoded field by field, every fault at once.

A field's type is checked by msgspec; what is wrong with it is said without repeating it. Unknown
fields are passed over and named in the answer's warnings.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar, get_args, get_origin
from urllib.parse import parse_qsl

import msgspec
from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError

from headwater import limits
from headwater.console.fields import Body, Rule, Table
from headwater.errors import FieldFault, RequestRefused

_S = TypeVar("_S", bound=Body)

_NO_RULE: Final = Rule(lambda value: value)
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_BRACKETS = re.compile(rb"[\[\]{}]")
_PLAIN_NAME = re.compile(rf"[A-Za-z0-9_]{{1,{limits.FIELD_NAME_CHARACTERS_MAX}}}", re.ASCII)
_PRINTABLE = re.compile(r"[\x20-\x7e]+", re.ASCII)
IDEMPOTENCY_KEY: Final = "Idempotency-Key"
_CHARSETS: Final = ("", "utf-8", "utf8")


async def read(request: web.BaseRequest) -> bytes:
    """The body's bytes. Raises RequestRefused for another type, encoding, size, or a stall."""
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower() != "identity":
        raise RequestRefused("unsupported_media_type", "No Content-Encoding is taken.")
    if not request.body_exists:
        return b""
    _require_json(request.headers.get(hdrs.CONTENT_TYPE, ""))
    if (request.content_length or 0) > limits.CONSOLE_BODY_BYTES_MAX:
        raise RequestRefused("body_too_large")
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and request.transport:
        # Not through the request's writer, which would take it for the answer.
        request.transport.write(_CONTINUE)
    chunks: list[bytes] = []
    count = 0
    try:
        async with asyncio.timeout(limits.BODY_DEADLINE_S):
            while chunk := await request.content.readany():
                count += len(chunk)
                if count > limits.CONSOLE_BODY_BYTES_MAX:
                    raise RequestRefused("body_too_large")
                chunks.append(chunk)
    except (TimeoutError, RequestPayloadError, HttpProcessingError):
        raise RequestRefused("malformed_request", "The body did not arrive whole.") from None
    return b"".join(chunks)


def idempotency_key(request: web.BaseRequest) -> str | None:
    """The Idempotency-Key a request carries. Raises RequestRefused for one that is none."""
    value = request.headers.get(IDEMPOTENCY_KEY)
    if value is None:
        return None
    if not 0 < len(value) <= limits.IDEMPOTENCY_KEY_BYTES_MAX or not _PRINTABLE.fullmatch(value):
        detail = f"1 to {limits.IDEMPOTENCY_KEY_BYTES_MAX} printable ASCII characters"
        raise refused([FieldFault(IDEMPOTENCY_KEY, "invalid", detail)])
    return value


def _require_json(content_type: str) -> None:
    kind, *parameters = content_type.split(";")
    charset = ""
    for parameter in parameters:
        name, _, value = parameter.strip().partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip('"').lower()
    if kind.strip().lower() != "application/json" or charset not in _CHARSETS:
        raise RequestRefused("unsupported_media_type", "Send application/json in UTF-8.")


def parse(raw: bytes) -> dict[str, Any]:
    """The JSON object in `raw`. Raises RequestRefused when there is none."""
    if _depth(raw) > limits.JSON_DEPTH_MAX:
        raise RequestRefused("malformed_body", "The body is nested too deeply.")
    try:
        # Strict about everything but a key named twice, which the second look is for.
        msgspec.json.decode(raw)
        value = json.loads(raw, object_pairs_hook=_pairs)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise RequestRefused("malformed_body") from None
    if not isinstance(value, dict):
        raise RequestRefused("malformed_body", "The body is a JSON object.")
    return value


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise RequestRefused("duplicate_key")
    return value


def _depth(raw: bytes) -> int:
    """An upper bound of the nesting: brackets inside of texts count too, and rarely matter."""
    depth = deepest = 0
    for bracket in _BRACKETS.finditer(raw):
        depth += 1 if bracket[0] in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def decode(
    shape: type[_S], values: Mapping[str, Any], *, strict: bool = True
) -> tuple[_S, list[str]]:
    """A `shape` of `values`, and warnings of what was passed over.

    `strict` False: numbers may be texts, as in a query. Raises RequestRefused with every field
    at fault.
    """
    faults: list[FieldFault] = []
    warnings: list[str] = []
    found = _fields(shape, values, strict, "", faults, warnings)
    if found is None:
        raise refused(faults)
    return found, _warnings(warnings)


def _fields(
    shape: type[_S],
    values: Mapping[str, Any],
    strict: bool,
    prefix: str,
    faults: list[FieldFault],
    unknown: list[str],
) -> _S | None:
    """A `shape` of `values`; None when `faults` were added. `prefix` is of the fields' names."""
    before = len(faults)
    taken: dict[str, Any] = {}
    fields = msgspec.structs.fields(shape)
    others = [name for name in values if name not in {f.encode_name for f in fields}]
    if shape.is_closed:
        faults += [FieldFault(prefix + _name(key), "invalid", "no such member") for key in others]
    else:
        unknown += [prefix + name for name in others]
    for field in fields:
        if field.encode_name not in values:
            if field.required:
                faults.append(FieldFault(prefix + field.encode_name, "required", "it is required"))
            continue
        value = values[field.encode_name]
        name = prefix + field.encode_name
        parts = shape.parts.get(field.name)
        if parts is not None and isinstance(value, dict):
            taken[field.name] = _fields(parts, value, strict, f"{name}.", faults, unknown)
            continue
        table = shape.tables.get(field.encode_name)
        if table is not None and isinstance(value, dict):
            taken[field.name] = _table(table, value, strict, f"{name}.", faults, unknown)
            continue
        rule = shape.rules.get(field.name, _NO_RULE)
        try:
            _refuse_controls(value)
            taken[field.name] = msgspec.convert(value, field.type, strict=strict)
            if taken[field.name] is not None:
                taken[field.name] = rule.check(taken[field.name])
        except msgspec.ValidationError as error:
            faults.append(FieldFault(name, "invalid", _told(error, field.type)))
        except ValueError as error:
            faults.append(FieldFault(name, rule.code, str(error)))
    return None if len(faults) > before else shape(**taken)


def _table(
    table: Table,
    values: Mapping[str, Any],
    strict: bool,
    prefix: str,
    faults: list[FieldFault],
    unknown: list[str],
) -> dict[str, Any]:
    """The bodies of a map by their names; a null stays one."""
    taken: dict[str, Any] = {}
    for key, value in values.items():
        name = prefix + _name(key)
        try:
            table.check_name(key)
        except ValueError as error:
            faults.append(FieldFault(name, "invalid", str(error)))
            continue
        if value is None or isinstance(value, dict):
            taken[key] = value and _fields(table.shape, value, strict, f"{name}.", faults, unknown)
        else:
            faults.append(FieldFault(name, "invalid", "an object is needed"))
    return taken


def _name(key: str) -> str:
    """A name that was sent, as a fault repeats it: only if it could be one of ours."""
    return key if _PLAIN_NAME.fullmatch(key) else "?"


def refused(faults: list[FieldFault]) -> RequestRefused:
    """One refusal of all faults; its code is the first fault's."""
    codes = [fault.code for fault in faults]
    code = next((code for code in codes if code != "required"), codes[0])
    names = ", ".join(dict.fromkeys(fault.field for fault in faults))
    return RequestRefused(code, f"at fault: {names}", status=422, faults=tuple(faults))


def _refuse_controls(value: Any) -> None:
    """No text of the management API has use for a control character; logs and pages suffer."""
    if isinstance(value, str):
        if any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in value):
            raise ValueError("it holds a control character")
    elif isinstance(value, dict):
        for key, item in value.items():
            _refuse_controls(key)
            _refuse_controls(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_controls(item)


def _told(error: msgspec.ValidationError, kind: Any) -> str:
    """What msgspec says, unless it repeats the value."""
    text = str(error)
    if text.startswith(("Invalid", "Object contains")):
        words = ", ".join(map(str, _words(kind)))
        return f"taken: {words}" if words else "not one of the values that are taken"
    return text.replace("`", "").replace("$", "it")


def _words(kind: Any) -> list[Any]:
    """The words of a Literal, however deep it is in the type."""
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    return [word for part in get_args(kind) for word in _words(part)]


def _warnings(unknown: list[str]) -> list[str]:
    names = [name[: limits.FIELD_NAME_CHARACTERS_MAX] for name in unknown[: limits.WARNINGS_MAX]]
    told = [
        f"unknown field ignored: {name.encode('ascii', 'backslashreplace').decode()}"
        for name in names
    ]
    if len(unknown) > limits.WARNINGS_MAX:
        told.append(f"and {len(unknown) - limits.WARNINGS_MAX} more")
    return told


def query(text: str) -> dict[str, str]:
    """The query's parameters, each once: the first of a name counts. Raises RequestRefused."""
    try:
        pairs = parse_qsl(
            text,
            keep_blank_values=True,
            errors="strict",
            max_num_fields=limits.QUERY_PARAMETERS_MAX,
        )
    except UnicodeDecodeError:
        raise RequestRefused("malformed_request", "The query is not UTF-8.") from None
    except ValueError:
        raise RequestRefused("too_many_parameters") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        found.setdefault(name, value)
    return found
