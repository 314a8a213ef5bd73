"""Who may ask the management API, and which requests are not taken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from console_tools import (
    RunningConsole,
    console_in,
    faults_of,
    fresh,
    program_body,
)
from headwater import limits
from headwater.console import keys
from headwater.ledger import access


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    with console_in(tmp_path_factory.mktemp("console")) as running:
        yield running


# ---- Keys and refusals


def test_every_route_but_health_asks_for_the_admin_key(console: RunningConsole) -> None:
    assert console.call("GET", "/healthz", key=None).json == {"status": "ok"}
    for path in ("/v1/brands", "/metrics", "/openapi.json", "/v1/clicks/clk_x", "/nothing"):
        for key in (None, "wrong", "\u00e9" * 3, "x" * 200):
            reply = console.call("GET", path, key=key)
            assert (reply.status, reply.json["code"]) == (401, "unauthorized"), (path, key)
            assert reply.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_key_of_another_scope_is_forbidden(console: RunningConsole) -> None:
    made = console.made("/v1/keys", {"scopes": ["events", "read"]})
    assert console.call("GET", "/v1/brands", key=made["key"]).status == 403


def test_a_deleted_admin_key_ends_at_once(console: RunningConsole) -> None:
    made = console.made("/v1/keys", {"scopes": ["admin"]})
    assert console.call("GET", "/v1/brands", key=made["key"]).status == 200
    assert console.call("DELETE", f"/v1/keys/{made['id']}").json["status"] == "deleted"
    assert console.call("GET", "/v1/brands", key=made["key"]).status == 401
    assert console.call("DELETE", f"/v1/keys/{made['id']}").status == 200
    assert console.call("DELETE", "/v1/keys/key_99999").status == 404


def test_a_secret_is_told_once_and_kept_as_a_hash(console: RunningConsole) -> None:
    body = {"scopes": ["events"], "external_id": fresh("key")}
    made = console.made("/v1/keys", body)
    again = console.call("POST", "/v1/keys", body)
    assert (again.status, again.json["id"], "key" in again.json) == (200, made["id"], False)
    row = access.key_by_sha256(console.ledger, keys.digest(made["key"]))
    assert row is not None
    assert made["key"] not in str(row)
    assert made["key"].encode() not in console.call("GET", "/v1/keys?limit=500").body


def test_an_admin_key_cannot_be_bound_to_a_brand(console: RunningConsole) -> None:
    brand, _ = console.brand_and_program(fresh())
    reply = console.call("POST", "/v1/keys", {"scopes": ["admin"], "brand_id": brand})
    assert faults_of(reply) == {"scopes": "invalid"}


def test_the_admin_key_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    with console_in(tmp_path, with_redis=False) as running:
        file = tmp_path / "admin.key"
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.read_text() == running.admin_key + "\n"
        assert keys.ensure_admin_key(tmp_path, running.ledger) == running.admin_key
        assert [item.name for item in tmp_path.glob("admin.key*")] == ["admin.key"]


# ---- Bodies


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", {}, 400, "malformed_body"),
        (b"[]", {}, 400, "malformed_body"),
        (b"", {}, 400, "malformed_body"),
        (b'{"name":"a"} x', {}, 400, "malformed_body"),
        (b'\xef\xbb\xbf{"name":"a"}', {}, 400, "malformed_body"),
        (b'{"name":"\xff"}', {}, 400, "malformed_body"),
        (b'{"name":"\\ud800"}', {}, 400, "malformed_body"),
        (b'{"name":NaN}', {}, 400, "malformed_body"),
        (b'{"name":"a","name":"b"}', {}, 400, "duplicate_key"),
        (b"[" * 100_000, {}, 400, "malformed_body"),
        (b'{"name":' + b'{"a":' * 40 + b"1" + b"}" * 41, {}, 400, "malformed_body"),
        (b'{"name":"a"}', {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        (
            b'{"name":"a"}',
            {"Content-Type": "application/json; charset=latin-1"},
            415,
            "unsupported_media_type",
        ),
        (b'{"name":"a"}', {"Content-Encoding": "gzip"}, 415, "unsupported_media_type"),
        (b" " * (limits.CONSOLE_BODY_BYTES_MAX + 1), {}, 413, "body_too_large"),
        (b"{}", {}, 422, "required"),
        (b'{"name":null}', {}, 422, "invalid"),
        (b'{"name":"a\\u0000b"}', {}, 422, "invalid"),
        (b'{"name":"' + b"a" * 256 + b'"}', {}, 422, "invalid"),
        (b'{"name":"a","external_id":""}', {}, 422, "invalid"),
    ],
)
def test_bodies_that_are_not_taken(
    console: RunningConsole, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    reply = console.call("POST", "/v1/brands", body, headers=headers)
    assert (reply.status, reply.json["code"]) == (status, code)
    assert reply.headers.get_content_type() == "application/problem+json"


def test_a_body_at_the_limits_is_taken(console: RunningConsole) -> None:
    body = b'{"name":"' + "é".encode() * 255 + b'"}'
    body += b" " * (limits.CONSOLE_BODY_BYTES_MAX - len(body))
    headers = {"Content-Type": "application/json; charset=UTF-8", "Expect": "100-continue"}
    assert console.call("POST", "/v1/brands", body, headers=headers).status == 201


def test_all_faults_are_told_at_once_and_nothing_is_repeated(console: RunningConsole) -> None:
    sent = {
        "brand_id": "ZZZsecret",
        "code": "ZZZsecret",
        "destination_url": "ftp://ZZZsecret",
        "deep_link_hosts": ["ZZZsecret/"],
        "timezone": "ZZZsecret",
        "click_window_seconds": 3599,
        "attribution": {"model": "ZZZsecret"},
        "click_param": "ZZZ secret",
        "consent_default": "ZZZsecret",
        "forward_params": ["ZZZ secret"],
        "allowed_origins": ["https://ZZZsecret/path"],
        "default_country": "ZZZsecret",
        "methods": ["ZZZsecret"],
        "status": "ZZZsecret",
    }
    reply = console.call("POST", "/v1/programs", sent)
    codes = {
        **dict.fromkeys([*sent, "currency"], "invalid"),
        "currency": "required",
        "destination_url": "invalid_destination",
    }
    codes["attribution.model"] = codes.pop("attribution")
    assert faults_of(reply) == codes
    assert b"ZZZ" not in reply.body
    (model,) = (each for each in reply.json["errors"] if each["field"] == "attribution.model")
    assert "last_click" in model["detail"]


def test_unknown_fields_are_passed_over_and_named(console: RunningConsole) -> None:
    made = console.made("/v1/brands", {"name": "a", "colour": 1, "x\u2028": 2})
    assert made["warnings"] == [
        "unknown field ignored: colour",
        "unknown field ignored: x\\u2028",
    ]
    many = {"name": "a", **{f"f{number}": 0 for number in range(limits.WARNINGS_MAX + 5)}}
    warnings = console.made("/v1/brands", many)["warnings"]
    assert (len(warnings), warnings[-1]) == (limits.WARNINGS_MAX + 1, "and 5 more")


@pytest.mark.parametrize("seconds", [3600, 400 * 86_400])
def test_click_windows_at_the_bounds_are_taken(console: RunningConsole, seconds: int) -> None:
    brand = console.made("/v1/brands", {"name": "a"})["id"]
    body = {**program_body(brand, fresh()), "click_window_seconds": seconds}
    made = console.made("/v1/programs", body)
    path = f"/v1/programs/{made['id']}"
    for beyond in (3599, 400 * 86_400 + 1):
        reply = console.call("PATCH", path, {"click_window_seconds": beyond})
        assert faults_of(reply) == {"click_window_seconds": "invalid"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1", 404),
        ("GET", "/v1/brands/", 404),
        ("GET", "/v1/brands/prg_1", 404),
        ("GET", "/v1/brands/brd_999999", 404),
        ("GET", "/v1/brands/brd_1%00", 404),
        ("GET", "/v1/brands/%ff", 404),
        ("GET", "/v1/brands/" + "x" * 400, 404),
        ("GET", "/v1/brands/..", 404),
        ("GET", "/v1/brands/brd_%D9%A3", 404),
        ("GET", "/v1/clicks/clk_x", 404),
        ("GET", "/v1/clicks/clk_" + "0" * 26, 404),
        ("GET", "/v1/conversions/cnv_" + "0" * 26 + "/explain", 404),
        ("GET", "/v1/domains/allowed?domain=%00", 422),
        ("DELETE", "/v1/brands", 405),
        ("PUT", "/v1/brands/brd_1", 405),
        ("HEAD", "/v1/brands", 200),
        ("GET", "/v1/brands?limit=501", 422),
        ("GET", "/v1/brands?limit=0", 422),
        ("GET", "/v1/brands?limit=%D9%A3", 422),
        ("GET", "/v1/brands?cursor=nonsense", 422),
        ("GET", "/v1/brands?limit=1&limit=nonsense", 200),
        ("GET", "/v1/brands?%ff=1", 400),
        ("GET", "/v1/brands?" + "a=1&" * 65, 400),
        ("GET", "/v1/programs?brand_id=ext:nobody", 200),
        ("GET", "/v1/programs?brand_id=nobody", 422),
    ],
)
def test_targets(console: RunningConsole, method: str, path: str, status: int) -> None:
    reply = console.call(method, path)
    assert reply.status == status
    if status == 405:
        assert reply.headers["Allow"]
