"""The management API: every rule of its routes, on a real ledger and a real log."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from console_tools import RunningConsole, console_in, program_body, told_to_edges
from headwater import ids, limits
from headwater.console import keys
from headwater.ledger import access, matching
from ledger_tools import (
    NOW_MS,
    acquired,
    batch,
    click_outcome,
    conversion_outcome,
    report_outcome,
)

_numbers = itertools.count()


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    with console_in(tmp_path_factory.mktemp("console")) as running:
        yield running


def fresh(prefix: str = "code") -> str:
    return f"{prefix}-{next(_numbers)}"


def faults_of(reply: Any) -> dict[str, str]:
    assert reply.status in (409, 422), reply
    assert reply.headers.get_content_type() == "application/problem+json"
    return {fault["field"]: fault["code"] for fault in reply.json["errors"]}


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


# ---- Objects


def test_an_external_id_stands_wherever_an_id_does(console: RunningConsole) -> None:
    tag = fresh("crm") + "/a b"
    quoted = "ext:" + tag.replace("/", "%2F").replace(" ", "%20")
    brand = console.made("/v1/brands", {"name": "a", "external_id": tag})
    code = fresh()
    body = {**program_body(f"ext:{tag}", code), "external_id": tag}
    program = console.made("/v1/programs", body)
    assert program["brand_id"] == brand["id"]
    assert console.call("POST", "/v1/programs", body).json["id"] == program["id"]
    assert console.call("POST", "/v1/programs", {**body, "code": fresh()}).status == 409
    partner = console.made("/v1/partners", {"name": "p", "external_id": tag})
    path = f"/v1/programs/{quoted}"
    console.made(f"{path}/event-types", {"code": "sale", "kind": "sale", "external_id": tag})
    enrolment = console.made(f"{path}/partners/{quoted}", {"external_id": tag}, "PUT")
    assert enrolment["partner_id"] == partner["id"]
    link = console.made(
        "/v1/links",
        {"program_id": f"ext:{tag}", "partner_id": f"ext:{tag}", "external_id": tag},
    )
    for path, found in (
        (f"/v1/brands/{quoted}", brand),
        (f"/v1/programs/{quoted}", program),
        (f"/v1/partners/{quoted}", partner),
        (f"/v1/links/{quoted}", link),
    ):
        assert console.call("GET", path).json["id"] == found["id"]
    page = console.call("GET", f"/v1/links?program_id={quoted}&partner_id={quoted}").json
    assert [item["id"] for item in page["items"]] == [enrolment["default_link"]["id"], link["id"]]


def test_the_same_post_again_is_200_and_another_is_409(console: RunningConsole) -> None:
    body = {"name": "a", "external_id": fresh("brand")}
    made = console.made("/v1/brands", body)
    console.call("PATCH", f"/v1/brands/{made['id']}", {"name": "renamed"})
    again = console.call("POST", "/v1/brands", body)
    assert (again.status, again.json["id"], again.json["name"]) == (200, made["id"], "renamed")
    other = console.call("POST", "/v1/brands", {**body, "name": "b"})
    assert faults_of(other) == {"external_id": "conflict"}


def test_a_program_code_is_unique_in_the_deployment(console: RunningConsole) -> None:
    code = fresh()
    console.brand_and_program(code)
    other = console.made("/v1/brands", {"name": "b"})["id"]
    assert faults_of(console.call("POST", "/v1/programs", program_body(other, code))) == {
        "code": "conflict"
    }


def test_a_new_program_has_defaults_and_no_event_types(console: RunningConsole) -> None:
    _, program = console.brand_and_program(fresh())
    made = console.call("GET", f"/v1/programs/{program}").json
    assert (made["attribution"], made["click_param"], made["timezone"], made["name"]) == (
        {"model": "last_click"},
        "click_id",
        "UTC",
        made["code"],
    )
    listed = console.call("GET", f"/v1/programs/{program}/event-types").json
    assert listed == {"items": [], "next_cursor": None}
    kinds = {"click": "click", "lead": "lead", "sale": "sale", "other": "custom"}
    for code, kind in kinds.items():
        console.made(f"/v1/programs/{program}/event-types", {"code": code, "kind": kind})
    twice = console.call(
        "POST", f"/v1/programs/{program}/event-types", {"code": "sale", "kind": "lead"}
    )
    assert faults_of(twice) == {"code": "conflict"}
    listed = console.call("GET", f"/v1/programs/{program}/event-types").json["items"]
    assert {item["code"]: item["kind"] for item in listed} == kinds
    path = f"/v1/programs/{program}/event-types/{listed[0]['id']}"
    assert console.call("PATCH", path, {"status": "paused"}).json["status"] == "paused"


def test_a_patch_changes_what_it_names_and_edges_hear_of_it(console: RunningConsole) -> None:
    _, program = console.brand_and_program(fresh())
    before = console.call("GET", f"/v1/programs/{program}").json
    change = {
        "name": "New",
        "destination_url": "https://new.example/",
        "default_country": "AT",
        "aliases": {"txid": "order_id"},
        "methods": ["s2s"],
        "code": "other",
    }
    after = console.call("PATCH", f"/v1/programs/{program}", change).json
    assert after["warnings"] == ["unknown field ignored: code"]
    del change["code"]
    for name in before:
        if name not in ("updated_at", "warnings"):
            assert after[name] == change.get(name, before[name]), name
    assert console.store is not None
    value = told_to_edges(console.store)[f"program:{program[4:]}"][3]
    assert (value["destination_url"], value["methods"]) == ("https://new.example/", ["s2s"])
    cleared = console.call("PATCH", f"/v1/programs/{program}", {"default_country": None})
    assert cleared.json["default_country"] is None
    assert console.call("PATCH", "/v1/programs/prg_99999", {}).status == 404


def test_partner_emails_are_checked_and_may_be_cleared(console: RunningConsole) -> None:
    made = console.made("/v1/partners", {"name": "p", "email": "p@partners.example"})
    path = f"/v1/partners/{made['id']}"
    assert faults_of(console.call("PATCH", path, {"email": "no at"})) == {"email": "invalid"}
    assert console.call("PATCH", path, {"email": None}).json["email"] is None
    assert console.call("PATCH", path, {"status": "paused"}).json["status"] == "paused"
    assert faults_of(console.call("PATCH", path, {"status": "gone"})) == {"status": "invalid"}


# ---- Links, domains


def enrolled(console: RunningConsole) -> tuple[str, str, str]:
    brand, program = console.brand_and_program(fresh())
    partner = console.made("/v1/partners", {"name": "p"})["id"]
    console.made(f"/v1/programs/{program}/partners/{partner}", {}, "PUT")
    return brand, program, partner


def test_enrolling_answers_the_default_link_and_edges_serve_it(console: RunningConsole) -> None:
    _, program = console.brand_and_program(fresh())
    partner = console.made("/v1/partners", {"name": "p"})["id"]
    path = f"/v1/programs/{program}/partners/{partner}"
    first = console.call("PUT", path)
    link = first.json["default_link"]
    assert first.status == 201
    assert link["url"].endswith(f"/c/{link['code']}")
    assert console.store is not None
    value = told_to_edges(console.store)[f"link:{link['id'][4:]}"][3]
    assert (value["code"], value["url"]) == (
        link["code"],
        "https://shop.example/landing?a=b%2Fc+d",
    )
    again = console.call("PUT", path, {})
    assert (again.status, again.json["default_link"]) == (200, link)
    paused = console.call("PUT", path, {"status": "paused"})
    assert (paused.status, paused.json["status"]) == (200, "paused")
    listed = console.call("GET", f"/v1/programs/{program}/partners").json["items"]
    assert [(item["partner_id"], item["status"]) for item in listed] == [(partner, "paused")]
    assert console.call("PUT", f"/v1/programs/{program}/partners/prt_99999", {}).status == 404


def test_links_are_made_with_their_own_destination_utm_and_expiry(console: RunningConsole) -> None:
    _, program, partner = enrolled(console)
    code = fresh("Code")
    made = console.made(
        "/v1/links",
        {
            "program_id": program,
            "partner_id": partner,
            "code": code,
            "destination_url": "https://shop.example/a?utm_source=own#x",
            "utm": {"utm_source": "no", "utm_medium": "e mail"},
            "expires_at": "2030-01-01T02:00:00.5+02:00",
        },
    )
    assert made["target_url"] == "https://shop.example/a?utm_source=own&utm_medium=e%20mail#x"
    assert (made["code"], made["expires_at"]) == (code, "2030-01-01T00:00:00.500Z")
    taken = {"program_id": program, "partner_id": partner, "code": code.upper()}
    assert faults_of(console.call("POST", "/v1/links", taken)) == {"code": "conflict"}
    path = f"/v1/links/{made['id']}"
    changed = console.call("PATCH", path, {"destination_url": None, "utm": {}, "expires_at": None})
    assert (changed.json["target_url"], changed.json["expires_at"]) == (
        "https://shop.example/landing?a=b%2Fc+d",
        None,
    )
    away = console.call("PATCH", path, {"destination_url": "https://evil.example/"})
    assert faults_of(away) == {"destination_url": "invalid_destination"}
    assert console.call("PATCH", path, {"status": "paused"}).json["status"] == "paused"


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("code", "healthz", "invalid"),
        ("code", "V1", "invalid"),
        ("code", "a.b", "invalid"),
        ("code", "a" * 65, "invalid"),
        ("code", "", "invalid"),
        ("domain", "nobody.example", "invalid"),
        ("destination_url", "https://evil.example/", "invalid_destination"),
        ("destination_url", "https://shop.example@evil.example/", "invalid_destination"),
        ("destination_url", "//shop.example/", "invalid_destination"),
        ("destination_url", "https://shop.example/ü", "invalid_destination"),
        ("program_id", "prg_99999", "unknown_program"),
        ("program_id", "brd_1", "unknown_program"),
        ("partner_id", "prt_99999", "unknown_partner"),
        ("expires_at", "tomorrow", "invalid"),
        ("expires_at", "2030-01-01T00:00:00", "invalid"),
        ("utm", {"utm_source": "x" * 256}, "invalid"),
        ("utm", "x", "invalid"),
    ],
)
def test_links_that_are_not_made(
    console: RunningConsole, field: str, value: Any, code: str
) -> None:
    _, program, partner = enrolled(console)
    body = {"program_id": program, "partner_id": partner, field: value}
    reply = console.call("POST", "/v1/links", body)
    assert faults_of(reply) == {field: code}


def test_a_link_of_a_partner_that_is_not_enrolled_is_refused(console: RunningConsole) -> None:
    _, program, _ = enrolled(console)
    other = console.made("/v1/partners", {"name": "q"})["id"]
    reply = console.call("POST", "/v1/links", {"program_id": program, "partner_id": other})
    assert faults_of(reply) == {"partner_id": "unknown_partner"}


def test_domains_serve_links_and_answer_for_certificates(console: RunningConsole) -> None:
    brand, program, partner = enrolled(console)
    host = fresh("go") + ".shop.example"
    made = console.made("/v1/domains", {"brand_id": brand, "domain": host.upper()})
    assert made["domain"] == host
    again = console.call("POST", "/v1/domains", {"brand_id": brand, "domain": host})
    assert faults_of(again) == {"domain": "conflict"}
    for bad in ("localhost", "10.0.0.1", "a.example/", "a.example:80", "*.a.example", "ü.example"):
        reply = console.call("POST", "/v1/domains", {"brand_id": brand, "domain": bad})
        assert faults_of(reply) == {"domain": "invalid"}, bad
    assert console.call("GET", f"/v1/domains/allowed?domain={host.upper()}.").status == 200
    assert console.call("GET", "/v1/domains/allowed?domain=evil.example").status == 404
    for named in (host, made["id"]):
        link = console.made(
            "/v1/links",
            {"program_id": program, "partner_id": partner, "domain": named, "code": fresh()},
        )
        assert link["url"] == f"https://{host}/{link['code']}"
    assert any(
        item["id"] == made["id"] for item in console.call("GET", "/v1/domains").json["items"]
    )


# ---- Lists


def test_lists_go_page_by_page_without_gap_or_repeat(console: RunningConsole) -> None:
    names = [fresh("name") for _ in range(7)]
    for name in names:
        console.made("/v1/brands", {"name": name})
    seen: list[str] = []
    cursor = ""
    while True:
        page = console.call("GET", f"/v1/brands?limit=2{cursor}").json
        assert len(page["items"]) <= 2
        seen += [item["name"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen[-7:] == names
    assert len(seen) == len(console.call("GET", "/v1/brands?limit=500").json["items"])


# ---- Clicks, conversions


@pytest.fixture(scope="module")
def decided(console: RunningConsole) -> dict[str, Any]:
    """A click and a conversion in the ledger, committed as the matcher does."""
    brand, program = console.brand_and_program("decided")
    console.made(f"/v1/programs/{program}/event-types", {"code": "sale", "kind": "sale"})
    numbers = {"brand": int(brand[4:]), "program": int(program[4:])}
    clicks = [click_outcome(NOW_MS + step, **numbers) for step in range(3)]
    conversion_id = bytes(range(16))
    visitor = [8, bytes.fromhex("a1b2c3d4") + bytes(12)]
    explain = msgpack.packb(
        {
            "members": [visitor],
            "candidates": [
                {
                    "click_id": clicks[0][0],
                    "partner": 1,
                    "touch_ms": NOW_MS,
                    "path": [
                        {
                            "from": visitor,
                            "to": [6, clicks[0][0]],
                            "at_ms": NOW_MS,
                            "event_id": clicks[0][0],
                        }
                    ],
                    "outcome": "credited",
                }
            ],
            "candidates_omitted": 0,
            "hubs": [],
            "cut": [],
            "truncated": False,
            "config_hash": bytes(16),
        }
    )
    row = conversion_outcome(
        conversion_id, credits_given=((1, clicks[0][0], 1_000_000),), explain=explain
    )
    event_type = console.call("GET", f"/v1/programs/{program}/event-types").json["items"][0]["id"]
    row = (row[0], numbers["brand"], numbers["program"], int(event_type[4:]), *row[4:])
    owner = acquired(console.ledger)
    reports = [report_outcome(conversion_id), report_outcome(conversion_id, "merged")]
    matching.commit(
        console.ledger,
        [batch(owner, clicks=clicks, conversions=[row], reports=reports)],
        lease_until_ms=0,
    )
    return {
        "clicks": [ids.event_text("clk", click[0]) for click in clicks],
        "conversion": ids.event_text("cnv", conversion_id),
        "program": program,
        "brand": brand,
    }


def test_a_click_is_read_with_all_that_was_kept(
    console: RunningConsole, decided: dict[str, Any]
) -> None:
    read = console.call("GET", f"/v1/clicks/{decided['clicks'][0]}").json
    at = "2026-09-21T14:13:20.000Z"
    assert read == {
        "id": decided["clicks"][0],
        "brand_id": decided["brand"],
        "program_id": decided["program"],
        "partner_id": "prt_1",
        "link_id": "lnk_1",
        "at": at,
        "occurred_at": at,
        "source": "link",
        "trust": "browser",
        "flags": {
            "test": True,
            "consent_denied": False,
            "deep_link_refused": False,
            "qr": False,
            "prefetch": False,
        },
        "verdict": "accept",
        "params": {"sub1": "x/y"},
        "referrer": None,
        "user_agent": None,
        "address_prefix": None,
    }


def test_clicks_and_conversions_are_listed_newest_first(
    console: RunningConsole, decided: dict[str, Any]
) -> None:
    seen: list[str] = []
    cursor = ""
    for _ in range(3):
        path = f"/v1/clicks?program_id={decided['program']}&limit=1{cursor}"
        page = console.call("GET", path).json
        seen += [item["id"] for item in page["items"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == decided["clicks"][::-1]
    assert page["next_cursor"] is None
    page = console.call("GET", "/v1/conversions").json
    assert [item["conversion_id"] for item in page["items"]] == [decided["conversion"]]
    other = console.call("GET", "/v1/clicks?program_id=prg_99999").json
    assert other == {"items": [], "next_cursor": None}


def test_a_conversion_is_read_with_decision_and_reports(
    console: RunningConsole, decided: dict[str, Any]
) -> None:
    read = console.call("GET", f"/v1/conversions/{decided['conversion']}").json
    assert read["credits"] == [
        {"partner_id": "prt_1", "click_id": decided["clicks"][0], "share_ppm": 1_000_000}
    ]
    assert (read["status"], read["reason"], read["amount"], read["currency"]) == (
        "attributed",
        None,
        "12.34",
        "EUR",
    )
    assert (read["program"], read["event"], read["order_id"]) == ("decided", "sale", "A-1")
    assert sorted(report["outcome"] for report in read["reports"]) == ["created", "merged"]
    assert read["fraud"] == {"score": 0, "verdict": "accept", "codes": []}


def test_an_explanation_names_steps_by_short_keys(
    console: RunningConsole, decided: dict[str, Any]
) -> None:
    told = console.call("GET", f"/v1/conversions/{decided['conversion']}/explain").json
    (candidate,) = told["candidates"]
    click = decided["clicks"][0]
    assert candidate["path"] == [
        {
            "from": {"type": "visitor_id", "key": "a1b2c3d4"},
            "to": {"type": "click_id", "key": click},
            "at": "2026-09-21T14:13:20.000Z",
            "event_id": click,
        }
    ]
    assert (candidate["outcome"], candidate["partner_id"]) == ("credited", "prt_1")
    assert told["config_hash"] == "00" * 16
    assert {"members", "candidates", "hubs", "cut", "config_hash"} <= set(told)


def test_metrics_are_those_of_the_process(console: RunningConsole) -> None:
    reply = console.call("GET", "/metrics")
    assert reply.headers["Content-Type"].startswith("text/plain")
    for name in (
        b"headwater_events_accepted_total",
        b"headwater_spool_bytes",
        b'headwater_requests_refused_total{code="required",route="console POST /v1/brands"}',
    ):
        assert name in reply.body
