"""Links in the management API: codes, destinations, many at once, who had a code when, QR codes,
secrets of signed links, domains. Rows P1, P5, P6, P9, P10 and P16 of the features.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from typing import Any

import pytest
import segno

from console_tools import RunningConsole, console_in, faults_of, fresh, told_to_edges
from headwater import ids, limits
from headwater.config import Config
from headwater.console import checks, views
from headwater.edge.links import LinkTable
from headwater.edge.targets import Targets
from headwater.model import signing


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    with console_in(tmp_path_factory.mktemp("console")) as running:
        yield running


@pytest.fixture(scope="module")
def owner(console: RunningConsole) -> dict[str, str]:
    """A program with a partner, as a link's body names them."""
    brand, program = console.brand_and_program(fresh())
    partner = console.made("/v1/partners", {"name": "p"})["id"]
    console.made(f"/v1/programs/{program}/partners/{partner}", {}, "PUT")
    console.made("/v1/domains", {"brand_id": brand, "domain": f"{fresh('go')}.shop.example"})
    return {"program_id": program, "partner_id": partner}


def link(console: RunningConsole, owner: dict[str, str], **fields: Any) -> Any:
    return console.made("/v1/links", {**owner, **fields})


def told(console: RunningConsole, link_id: str) -> Any:
    """What edges know of a link; None: nothing any more."""
    assert console.store is not None
    found = told_to_edges(console.store).get(f"link:{link_id.removeprefix('lnk_')}")
    return found and found[3]


# ---- Codes ---------------------------------------------------------------------------------


def test_p1_a_code_is_seven_characters_nobody_misreads(
    console: RunningConsole, owner: dict[str, str]
) -> None:
    codes = {link(console, owner)["code"] for _ in range(5)}
    assert len(codes) == 5
    for code in codes:
        assert re.fullmatch(r"[0-9a-hjkmnp-tv-z]{7}", code)
    unreachable = [word for word in checks.RESERVED_CODES if set(word) <= set(ids.ALPHABET)]
    assert all(len(word) != 7 for word in unreachable)


def test_p10_an_enrolment_has_a_default_link_of_its_own(console: RunningConsole) -> None:
    _, program = console.brand_and_program(fresh())
    partner = console.made("/v1/partners", {"name": "p"})["id"]
    path = f"/v1/programs/{program}/partners/{partner}"
    made = console.made(path, {}, "PUT")["default_link"]
    assert console.call("PUT", path, {}).json["default_link"] == made
    deleted = console.call("DELETE", f"/v1/links/{made['id']}")
    assert (deleted.status, deleted.json["code"]) == (409, "conflict")


def test_p1_the_same_code_may_stand_on_two_hosts(
    console: RunningConsole, owner: dict[str, str]
) -> None:
    code = fresh()
    domain = console.call("GET", "/v1/domains?limit=500").json["items"][-1]["domain"]
    assert link(console, owner, code=code)["url"].endswith(f"/c/{code}")
    assert link(console, owner, code=code, domain=domain)["url"] == f"https://{domain}/{code}"
    again = console.call("POST", "/v1/links", {**owner, "code": code.upper(), "domain": domain})
    assert faults_of(again) == {"code": "conflict"}


@pytest.mark.parametrize("field", ["program_id", "partner_id", "code", "domain"])
def test_p1_a_link_keeps_whose_it_is(
    console: RunningConsole, owner: dict[str, str], field: str
) -> None:
    made = link(console, owner)
    reply = console.call("PATCH", f"/v1/links/{made['id']}", {field: "prt_1", "status": "paused"})
    assert faults_of(reply) == {field: "invalid"}
    assert {**console.call("GET", f"/v1/links/{made['id']}").json, "warnings": []} == made


def test_p1_a_code_that_changes_hands_has_a_history(
    console: RunningConsole, owner: dict[str, str]
) -> None:
    code = fresh()
    first = link(console, owner, code=code)
    other = console.made("/v1/partners", {"name": "q"})["id"]
    console.made(f"/v1/programs/{owner['program_id']}/partners/{other}", {}, "PUT")
    gone = console.call("DELETE", f"/v1/links/{first['id']}")
    assert (gone.status, gone.json["status"]) == (200, "deleted")
    assert told(console, first["id"]) is None
    assert console.call("DELETE", f"/v1/links/{first['id']}").json == gone.json
    second = link(console, owner, code=code.upper(), partner_id=other)
    assert told(console, second["id"])["code"] == code.upper()
    for each in (first, second):
        history = console.call("GET", f"/v1/links/{each['id']}/history").json
        assert (history["code"].lower(), history["domain"]) == (code, None)
        newest, oldest = history["holders"]
        assert (newest["link_id"], newest["partner_id"], newest["until"]) == (
            second["id"],
            other,
            None,
        )
        assert (oldest["link_id"], oldest["partner_id"]) == (first["id"], owner["partner_id"])
        assert oldest["since"] <= oldest["until"] <= newest["since"]
    changed = console.call("PATCH", f"/v1/links/{first['id']}", {"status": "active"})
    assert (changed.status, changed.json["code"]) == (409, "conflict")
    assert console.call("GET", "/v1/links/lnk_999999/history").status == 404
    assert console.call("DELETE", "/v1/links/lnk_999999").status == 404


# ---- Many at once, and lists ---------------------------------------------------------------


def test_p6_many_links_are_made_and_refused_each_by_itself(
    console: RunningConsole, owner: dict[str, str]
) -> None:
    code = fresh()
    bodies: list[Any] = [
        {**owner, "code": code, "external_id": code},
        {**owner, "code": code.upper()},
        {**owner, "destination_url": "https://evil.example/", "expires_at": "tomorrow"},
        {"program_id": owner["program_id"]},
        {**owner, "code": code, "external_id": code},
        {**owner, "destination_url": "https://evil.example/"},
        {**owner},
    ]
    reply = console.call("POST", "/v1/links/bulk", {"links": bodies})
    assert reply.status == 207
    results = reply.json
    assert [each["index"] for each in results] == list(range(len(bodies)))
    assert [(each["status"], each["code"]) for each in results] == [
        (201, None),
        (409, "conflict"),
        (422, "invalid"),
        (422, "required"),
        (200, None),
        (422, "invalid_destination"),
        (201, None),
    ]
    assert results[0]["id"] == results[4]["id"]
    assert results[0]["link"]["code"] == code
    assert results[2]["errors"][0]["field"] == "expires_at"
    assert results[5]["errors"][0]["field"] == "destination_url"
    assert told(console, results[6]["id"])["code"] == results[6]["link"]["code"]


def test_p6_a_thousand_links_are_made_in_one_request(
    console: RunningConsole, owner: dict[str, str]
) -> None:
    most = limits.BULK_LINKS_MAX
    made = console.call("POST", "/v1/links/bulk", {"links": [owner] * most}).json
    assert {each["status"] for each in made} == {201}
    assert len({each["link"]["code"] for each in made}) == most
    assert told(console, made[-1]["id"])
    over = console.call("POST", "/v1/links/bulk", {"links": [owner] * (most + 1)})
    assert faults_of(over) == {"links": "invalid"}
    for wrong in ([], [1], {}, None):
        reply = console.call("POST", "/v1/links/bulk", {"links": wrong})
        assert faults_of(reply) == {"links": "invalid"}


def test_links_are_listed_by_code_domain_and_status(console: RunningConsole) -> None:
    brand, program = console.brand_and_program(fresh())
    partner = console.made("/v1/partners", {"name": "p"})["id"]
    console.made(f"/v1/programs/{program}/partners/{partner}", {}, "PUT")
    owner = {"program_id": program, "partner_id": partner}
    domain = f"{fresh('go')}.shop.example"
    console.made("/v1/domains", {"brand_id": brand, "domain": domain})
    code = fresh("Named")
    named = link(console, owner, code=code)["id"]
    hosted = link(console, owner, domain=domain, code=code)["id"]
    paused = link(console, owner)["id"]
    console.call("PATCH", f"/v1/links/{paused}", {"status": "paused"})
    deleted = link(console, owner)["id"]
    console.call("DELETE", f"/v1/links/{deleted}")

    def listed(query: str) -> list[str]:
        reply = console.call("GET", f"/v1/links?program_id={program}{query}")
        return [item["id"] for item in reply.json["items"]]

    assert listed(f"&code={code.lower()}") == [named, hosted]
    assert listed(f"&domain={domain}&code={code}") == [hosted]
    assert listed("&status=paused") == [paused]
    assert listed("&status=deleted") == [deleted]
    assert listed("")[1:] == [named, hosted, paused]


# ---- Destinations --------------------------------------------------------------------------


def test_p5_p16_a_links_target_shows_utm_and_tokens(console: RunningConsole) -> None:
    _, program = console.brand_and_program(fresh())
    partner = console.made("/v1/partners", {"name": "p"})["id"]
    console.made(f"/v1/programs/{program}/partners/{partner}", {}, "PUT")
    owner = {"program_id": program, "partner_id": partner}
    made = link(
        console,
        owner,
        destination_url="https://shop.example/{sub1}?utm_source=own",
        utm={"utm_campaign": "{program} x"},
    )
    path = f"/v1/links/{made['id']}"
    assert made["target_url"] == (
        "https://shop.example/{sub1}?utm_source=own&utm_campaign={program}%20x"
    )
    changes = {"utm": {"utm_source": "p", "utm_campaign": "p"}, "utm_mode": "override"}
    reply = console.call("PATCH", f"/v1/programs/{program}", changes)
    assert (reply.json["utm"], reply.json["utm_mode"]) == (changes["utm"], "override")
    assert console.call("GET", path).json["target_url"] == (
        "https://shop.example/{sub1}?utm_source=p&utm_campaign={program}%20x"
    )
    listed = console.call("GET", f"/v1/links?program_id={program}").json["items"]
    assert listed[1]["target_url"] == console.call("GET", path).json["target_url"]


@pytest.mark.parametrize(
    ("field", "value", "at", "code"),
    [
        ("destination_url", "https://shop.example/{clickid}", "", "invalid_destination"),
        ("destination_url", "https://shop.example/{SUB1}", "", "invalid_destination"),
        ("destination_url", "https://shop.example/{sub11}", "", "invalid_destination"),
        ("destination_url", "https://{sub1}.example/", "", "invalid_destination"),
        ("destination_url", "https://shop.example{sub1}/", "", "invalid_destination"),
        ("destination_url", "{sub1}", "", "invalid_destination"),
        ("expired_destination_url", "https://shop.example/{x}", "", "invalid_destination"),
        ("expired_destination_url", "//evil.example", "", "invalid_destination"),
        ("expired_destination_url", "https://evil.example/", "", "invalid_destination"),
        ("utm", {"utm_source": "{nobody}"}, ".utm_source", "invalid"),
        ("utm", {"utm_source": "x" * 256}, ".utm_source", "invalid"),
        ("utm", dict.fromkeys(("utm_source", "utm_term"), "ü" * 255), "", "value_too_long"),
        ("targets", [{"destination_url": "https://shop.example/"}], "", "invalid_destination"),
        (
            "targets",
            [{"devices": ["ios"], "destination_url": "https://evil.example/"}],
            "",
            "invalid_destination",
        ),
        (
            "targets",
            [{"devices": ["ios"], "destination_url": "javascript:alert(1)"}],
            "",
            "invalid_destination",
        ),
        (
            "targets",
            [{"devices": ["fridge"], "destination_url": "https://shop.example/"}],
            "",
            "invalid",
        ),
        (
            "targets",
            [{"countries": ["Germany"], "destination_url": "https://shop.example/"}],
            "",
            "invalid",
        ),
        (
            "targets",
            [{"countries": ["DE"], "destination_url": "https://shop.example/"}]
            * (limits.LINK_TARGETS_MAX + 1),
            "",
            "invalid",
        ),
    ],
)
def test_b2_a_destination_is_judged_when_it_is_told(
    console: RunningConsole, owner: dict[str, str], field: str, value: Any, at: str, code: str
) -> None:
    reply = console.call("POST", "/v1/links", {**owner, field: value})
    assert faults_of(reply) == {f"{field}{at}": code}
    made = link(console, owner)
    reply = console.call("PATCH", f"/v1/links/{made['id']}", {field: value})
    assert faults_of(reply) == {f"{field}{at}": code}


def test_p6_targets_and_expiry_are_told_to_edges(
    console: RunningConsole, owner: dict[str, str]
) -> None:
    targets = [
        {"devices": ["ios"], "countries": [], "destination_url": "https://shop.example/ios"},
        {"devices": [], "countries": ["DE", "AT"], "destination_url": "https://shop.example/de"},
    ]
    expired = "https://shop.example/over"
    made = link(console, owner, targets=targets, expired_destination_url=expired)
    assert (made["targets"], made["expired_destination_url"]) == (targets, expired)
    value = told(console, made["id"])
    assert (value["targets"], value["expired_url"]) == (targets, expired)
    path = f"/v1/links/{made['id']}"
    console.call("PATCH", path, {"targets": [], "expired_destination_url": None})
    value = told(console, made["id"])
    assert (value["targets"], value["expired_url"]) == ([], None)


def test_p4_what_is_told_is_what_edges_read(console: RunningConsole) -> None:
    """Method: an edge's table is filled with what the console told, and asked for the link."""
    brand, program = console.brand_and_program(fresh())
    partner = console.made("/v1/partners", {"name": "p"})["id"]
    console.made(f"/v1/programs/{program}/partners/{partner}", {}, "PUT")
    domain = f"{fresh('go')}.shop.example"
    console.made("/v1/domains", {"brand_id": brand, "domain": domain})
    changes = {"utm": {"utm_source": "{partner_id}"}, "link_signing": "report"}
    console.call("PATCH", f"/v1/programs/{program}", changes)
    console.made(f"/v1/programs/{program}/link-secrets", None)
    made = link(
        console,
        {"program_id": program, "partner_id": partner},
        code="Told",
        domain=domain,
        destination_url="https://shop.example/{program}",
        targets=[{"devices": ["ios"], "destination_url": "https://shop.example/ios"}],
        expired_destination_url="https://shop.example/over",
    )
    table = LinkTable()
    assert console.store is not None
    for name, (_, kind, number, value) in told_to_edges(console.store).items():
        assert name == f"{kind}:{number}"
        table.apply(kind, number, value)
    found = table.link(domain, "told")
    assert found is not None
    assert found.number == int(made["id"].removeprefix("lnk_"))
    of_program = table.programs[found.program]
    assert of_program.options.signing == "report"
    prepared = Targets().of(found, of_program)
    assert prepared.own.head == "https://shop.example/{program}?utm_source={partner_id}"
    assert prepared.own.head == made["target_url"]
    assert prepared.rules[0][1].head == "https://shop.example/ios?utm_source={partner_id}"
    assert prepared.expired is not None
    assert prepared.expired.head == "https://shop.example/over"


# ---- QR codes ------------------------------------------------------------------------------


def test_p6_a_qr_code_encodes_the_links_marked_address(
    console: RunningConsole, owner: dict[str, str]
) -> None:
    made = link(console, owner)
    path = f"/v1/links/{made['id']}"
    expected = segno.make_qr(made["url"] + "?qr=1", error="H", boost_error=False)
    svg = console.call("GET", f"{path}/qr.svg?size=300&margin=2&level=H")
    assert svg.headers.get_content_type() == "image/svg+xml"
    edge = expected.symbol_size(border=2)[0]
    size = f'<svg width="300" height="300" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {edge} '
    assert svg.body.decode().startswith(size)
    png = console.call("GET", f"{path}/qr.png?size=300&margin=2&level=H")
    assert png.headers.get_content_type() == "image/png"
    width, height = struct.unpack(">II", png.body[16:24])
    assert width == height == 300 // edge * edge
    same = io.BytesIO()
    expected.save(same, kind="png", border=2, scale=300 // edge)
    assert png.body == same.getvalue()
    default = console.call("GET", f"{path}/qr.png")
    assert struct.unpack(">I", default.body[16:20])[0] <= 512
    assert console.call("GET", f"{path}/qr.svg").body.startswith(b"<svg")


@pytest.mark.parametrize(
    "query", ["size=63", "size=4097", "size=x", "margin=-1", "margin=17", "level=X", "level=h"]
)
def test_p6_a_qr_codes_parameters_are_bounded(
    console: RunningConsole, owner: dict[str, str], query: str
) -> None:
    made = link(console, owner)
    for kind in ("svg", "png"):
        reply = console.call("GET", f"/v1/links/{made['id']}/qr.{kind}?{query}")
        assert faults_of(reply) == {query.partition("=")[0]: "invalid"}
        assert console.call("GET", f"/v1/links/lnk_999999/qr.{kind}").status == 404


def test_p6_a_png_smaller_than_its_modules_is_refused(
    console: RunningConsole, owner: dict[str, str]
) -> None:
    made = link(console, owner, code="long" + "a" * 60)
    reply = console.call("GET", f"/v1/links/{made['id']}/qr.png?size=64&margin=16&level=H")
    assert faults_of(reply) == {"size": "invalid"}


def test_p11_a_partner_reads_its_own_links_and_no_others(
    console: RunningConsole, owner: dict[str, str]
) -> None:
    brand, program = console.brand_and_program(fresh())
    other = console.made("/v1/partners", {"name": "q"})["id"]
    mine = []
    for each in (owner["program_id"], program):
        console.made(f"/v1/programs/{each}/partners/{other}", {}, "PUT")
        mine.append(link(console, {"program_id": each, "partner_id": other})["id"])
    theirs = link(console, owner)["id"]
    asked = {"scopes": ["read"], "partner_id": other}
    free = console.made("/v1/keys", asked)["key"]
    bound = console.made("/v1/keys", {**asked, "brand_id": brand})["key"]

    def listed(key: str, query: str = "") -> list[str]:
        items = console.call("GET", f"/v1/links?limit=500{query}", key=key).json["items"]
        assert {item["partner_id"] for item in items} <= {other}
        return [item["id"] for item in items]

    assert listed(free)[1::2] == mine
    assert listed(bound)[1:] == mine[1:]
    assert listed(free, f"&partner_id={owner['partner_id']}") == []
    for kind in ("", "/qr.svg", "/qr.png"):
        assert console.call("GET", f"/v1/links/{mine[0]}{kind}", key=free).status == 200
        assert console.call("GET", f"/v1/links/{mine[0]}{kind}", key=bound).status == 404
        assert console.call("GET", f"/v1/links/{theirs}{kind}", key=free).status == 404
    assert console.call("GET", f"/v1/links/{mine[0]}/history", key=free).status == 403
    assert console.call("DELETE", f"/v1/links/{mine[0]}", key=free).status == 403


# ---- Signed links --------------------------------------------------------------------------


def test_p9_a_secret_is_told_once_and_two_are_valid(console: RunningConsole) -> None:
    _, program = console.brand_and_program(fresh())
    path = f"/v1/programs/{program}"
    number = int(program.removeprefix("prg_"))
    assert console.call("PATCH", path, {"link_signing": "require"}).json["link_secrets"] == 0
    secrets = []
    for valid in (1, 2, 2):
        made = console.made(f"{path}/link-secrets", None)
        assert made["valid"] == valid
        secrets.append(made["secret"])
    assert len(set(secrets)) == 3

    def told_secrets() -> list[str]:
        assert console.store is not None
        value = told_to_edges(console.store)[f"program:{number}"][3]
        assert value["link_signing"] == "require"
        key = (console.config.data / "identity.key").read_text().strip()
        return [signing.secret(bytes.fromhex(key), number, salt) for salt in value["link_salts"]]

    assert told_secrets() == secrets[1:]
    read = console.call("GET", path)
    assert read.json["link_secrets"] == 2
    for text in secrets:
        assert text.encode() not in read.body
    assert console.call("DELETE", f"{path}/link-secrets").json["link_secrets"] == 1
    assert told_secrets() == secrets[2:]
    assert console.call("POST", "/v1/programs/prg_999999/link-secrets").status == 404
    assert console.call("DELETE", "/v1/programs/prg_999999/link-secrets").status == 404


# ---- Addresses -----------------------------------------------------------------------------


def test_i7_a_proxy_asks_for_certificates_without_a_key(console: RunningConsole) -> None:
    brand, _ = console.brand_and_program(fresh())
    domain = f"{fresh('track')}.shop.example"
    path = f"/v1/domains/allowed?domain={domain}"
    assert console.call("GET", path, key=None).status == 404
    console.made("/v1/domains", {"brand_id": brand, "domain": domain})
    allowed = console.call("GET", path, key=None)
    assert (allowed.status, allowed.json) == (200, {"allowed": True})
    assert console.call("GET", "/v1/domains", key=None).status == 401
    assert brand.encode() not in allowed.body


@pytest.mark.parametrize(
    ("settings", "row", "url"),
    [
        ({}, {"host": "", "code": "x"}, "http://127.0.0.1:8080/c/x"),
        ({"host": "::1"}, {"host": "", "code": "x"}, "http://[::1]:8080/c/x"),
        (
            {"public_url": "https://track.example"},
            {"host": "", "code": "x"},
            "https://track.example/c/x",
        ),
        (
            {"public_url": "https://track.example"},
            {"host": "go.shop.example", "code": "x"},
            "https://go.shop.example/x",
        ),
    ],
)
def test_a_links_address_is_where_visitors_reach_it(
    settings: dict[str, Any], row: dict[str, str], url: str
) -> None:
    assert views.link_url(Config(**settings), row) == url
