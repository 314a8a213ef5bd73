"""Partner pixels by the management API: made, read, changed, signed, tried out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from console_tools import RunningConsole, console_in, controls_on, faults_of
from headwater import identity_key
from headwater.ledger.firing_queries import pixel_rows
from headwater.model import signing, webhooks
from headwater.model.pixels import pixel_of
from pixel_scene import TEMPLATE, Scene

IMAGE = '<img src="https://partner.example/i?o={order_id}" width="1" height="1">'
IFRAME = '<iframe src="https://partner.example/f?o={order_id}"></iframe>'


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    with console_in(tmp_path_factory.mktemp("console")) as running:
        yield running


@pytest.fixture
def scene(console: RunningConsole) -> Scene:
    return Scene(console)


# ---- Made, listed, changed, deleted ------------------------------------------------------------


def test_k2_a_pixel_is_refused_for_a_partner_that_is_not_in_the_program(
    scene: Scene, console: RunningConsole
) -> None:
    other = console.made("/v1/partners", {"name": "elsewhere"})["id"]
    reply = scene.create(other)
    assert (reply.status, reply.json["code"]) == (409, "partner_not_in_program")
    assert faults_of(reply) == {"program_id": "partner_not_in_program"}
    # First the partner is assigned to the program, then its pixel is made.
    console.made(f"/v1/programs/{scene.program}/partners/{other}", {}, "PUT")
    assert scene.create(other).status == 201
    assert faults_of(scene.create(program_id="prg_99999")) == {"program_id": "unknown_program"}
    assert scene.create("prt_99999").status == 404


def test_k3_a_pixel_is_made_read_changed_and_deleted(scene: Scene, console: RunningConsole) -> None:
    made = scene.pixel(test_url="https://partner.example/test", external_id="main")
    assert made == {
        "id": made["id"],
        "status": "active",
        "external_id": "main",
        "created_at": made["created_at"],
        "updated_at": made["updated_at"],
        "warnings": [],
        "partner_id": scene.partners[0],
        "program_id": scene.program,
        "commission": "cpa",
        "product_id": None,
        "slot": "main",
        "type": "postback",
        "template": TEMPLATE,
        "rule": None,
        "delay_seconds": None,
        "test_url": "https://partner.example/test",
        "signing_secrets": 0,
        "last_fired_at": None,
        "delivery": {
            "state": "idle",
            "failing_since": None,
            "disabled_at": None,
            "disabled_code": None,
            "delivered": 0,
            "failed": 0,
            "success_ppm": None,
            "last_attempt_at": None,
            "paused_until": None,
        },
    }
    again = scene.create(test_url="https://partner.example/test", external_id="main")
    assert (again.status, again.json["id"]) == (200, made["id"])
    assert scene.read("ext:main")["id"] == made["id"]
    path = scene.path(made["id"])
    changed = console.call("PATCH", path, {"status": "paused", "template": TEMPLATE + "&x=1"})
    assert changed.status == 200
    assert scene.read(made["id"])["status"] == "paused"
    assert scene.read(made["id"])["template"] == TEMPLATE + "&x=1"
    assert console.call("DELETE", path).json["status"] == "deleted"
    assert console.call("DELETE", path).status == 200
    assert console.call("PATCH", path, {"status": "active"}).status == 409
    assert scene.read(made["id"])["status"] == "deleted"
    assert console.call("GET", scene.path()).json == {"items": [], "next_cursor": None}


def test_what_the_console_does_is_told_to_the_log(scene: Scene, console: RunningConsole) -> None:
    made = scene.pixel()
    console.call("PATCH", scene.path(made["id"]), {"status": "paused"})
    console.call("DELETE", scene.path(made["id"]))
    assert console.store is not None
    number = int(made["id"][4:])
    told: list[Any] = [
        record.body[3]
        for record in controls_on(console.store)
        if record.body[0] == "pixel" and pixel_of(int(str(record.body[1]))) == number
    ]
    assert [value and value["status"] for value in told] == ["active", "paused", None]


def test_k5_a_pixel_is_of_one_program_or_of_all(scene: Scene) -> None:
    assert scene.pixel(program_id="*")["program_id"] == "*"
    assert scene.pixel()["program_id"] == scene.program
    # Nothing said of a program is all of them too.
    assert faults_of(scene.create(program_id=None)) == {"product_id": "conflict"}
    assert faults_of(scene.create(program_id="nowhere")) == {"program_id": "unknown_program"}


def test_k7_a_commission_is_cpa_cpc_or_cpl(scene: Scene) -> None:
    for commission in ("cpa", "cpc", "cpl"):
        assert scene.pixel(commission=commission)["commission"] == commission
    assert faults_of(scene.create(commission="cpm")) == {"commission": "invalid"}


def test_k8_a_product_is_of_a_cpa_pixel_alone(scene: Scene) -> None:
    assert scene.pixel(product_id="P-1")["slot"] == "upsell:P-1"
    for commission in ("cpc", "cpl"):
        reply = scene.create(commission=commission, product_id="P-1")
        assert (reply.status, faults_of(reply)) == (422, {"product_id": "invalid"})


def test_k9_a_slot_of_a_program_has_one_pixel(scene: Scene, console: RunningConsole) -> None:
    """One for the main offer and one for each upsell; the second is a conflict."""
    first = scene.pixel()
    for product in ("P-1", "P-2", "*"):
        assert scene.pixel(product_id=product)["product_id"] == product
    for product in (None, "P-1", "*"):
        reply = scene.create(product_id=product, type="image", template=IMAGE)
        assert (reply.status, faults_of(reply)) == (409, {"product_id": "conflict"})
    console.call("DELETE", scene.path(first["id"]))
    assert scene.create().status == 201


def test_k10_a_rule_is_of_a_cpl_pixel_alone(scene: Scene, console: RunningConsole) -> None:
    for commission in ("cpa", "cpc"):
        reply = scene.create(commission=commission, rule="fire_for_all_partials")
        assert (reply.status, faults_of(reply)) == (422, {"rule": "invalid"})
    lead = scene.pixel(commission="cpl")
    assert (lead["rule"], lead["delay_seconds"]) == ("do_not_fire_for_sales", 1200)
    path = scene.path(lead["id"])
    at_once = console.call("PATCH", path, {"rule": "fire_for_all_partials"}).json
    assert (at_once["rule"], at_once["delay_seconds"]) == ("fire_for_all_partials", None)
    assert faults_of(console.call("PATCH", path, {"delay_seconds": 3600})) == {
        "delay_seconds": "invalid"
    }
    slow = {"rule": "do_not_fire_for_sales", "delay_seconds": 3600}
    assert console.call("PATCH", path, slow).json["delay_seconds"] == 3600
    # What is not said stays as it is.
    assert console.call("PATCH", path, {"status": "paused"}).json["delay_seconds"] == 3600


def test_k11_the_delay_is_never_below_twenty_minutes(scene: Scene) -> None:
    assert scene.pixel(commission="cpl", delay_seconds=1200)["delay_seconds"] == 1200
    for delay in (1199, 0, -1, 30 * 86_400 + 1):
        reply = scene.create(commission="cpl", delay_seconds=delay)
        assert (reply.status, faults_of(reply)) == (422, {"delay_seconds": "invalid"})


@pytest.mark.parametrize(
    ("kind", "template"), [("postback", TEMPLATE), ("image", IMAGE), ("iframe", IFRAME)]
)
def test_k13_k14_what_is_pasted_matches_the_type(scene: Scene, kind: str, template: str) -> None:
    assert scene.pixel(type=kind, template=template)["template"] == template
    for other in {TEMPLATE, IMAGE, IFRAME, f"{IMAGE}{IMAGE}"} - {template}:
        reply = scene.create(type=kind, template=other, product_id="X")
        assert (reply.status, faults_of(reply)) == (422, {"template": "invalid"})


@pytest.mark.parametrize(
    "template",
    [
        "http://partner.example/",
        "https://user:pass@partner.example/",
        "https://partner.example:22/",
        "https://{sub1}/",
        "https://169.254.169.254/latest",
        "https://[::1]/",
        "https://0x7f.1/",
        "https://2130706433/",
        "javascript:alert(1)",
        "//partner.example/",
    ],
)
def test_k14_a_url_that_leads_inside_is_refused(scene: Scene, template: str) -> None:
    reply = scene.create(template=template)
    assert (reply.status, faults_of(reply)) == (422, {"template": "invalid"})
    assert template.encode() not in reply.body


@pytest.mark.parametrize("kind", ["image", "iframe"])
def test_k17_only_a_postback_can_be_used_with_cpl(
    scene: Scene, console: RunningConsole, kind: str
) -> None:
    template = IMAGE if kind == "image" else IFRAME
    reply = scene.create(commission="cpl", type=kind, template=template)
    assert (reply.status, faults_of(reply)) == (422, {"type": "invalid"})
    lead = scene.pixel(commission="cpl")
    patched = console.call("PATCH", scene.path(lead["id"]), {"type": kind, "template": template})
    assert faults_of(patched) == {"type": "invalid"}


def test_what_a_pixel_is_for_stays(scene: Scene, console: RunningConsole) -> None:
    made = scene.pixel()
    for field, value in (
        ("program_id", "*"),
        ("commission", "cpl"),
        ("product_id", "P-1"),
    ):
        reply = console.call("PATCH", scene.path(made["id"]), {field: value})
        assert faults_of(reply) == {field: "invalid"}


def test_a_macro_that_is_none_is_warned_of(scene: Scene, console: RunningConsole) -> None:
    made = scene.pixel(template="https://partner.example/?a={nothing}&b={click_id}")
    assert made["warnings"] == ["template: {nothing} is no macro, and will be empty"]
    path = scene.path(made["id"])
    reply = console.call("PATCH", path, {"template": "https://partner.example/?a=[nowhere]"})
    assert reply.json["warnings"] == ["template: [nowhere] is no macro, and will be empty"]


def test_a_list_goes_on_by_its_cursor(scene: Scene, console: RunningConsole) -> None:
    made = [scene.pixel(product_id=f"P-{number}")["id"] for number in range(3)]
    first = console.call("GET", scene.path() + "?limit=2").json
    rest = console.call("GET", f"{scene.path()}?limit=2&cursor={first['next_cursor']}").json
    assert [item["id"] for item in first["items"] + rest["items"]] == made
    assert rest["next_cursor"] is None


# ---- The preview -----------------------------------------------------------------------------


def test_k15_a_pixel_is_kept_as_it_is_and_shown_for_a_sample_order(
    scene: Scene, console: RunningConsole
) -> None:
    template = "https://partner.example/p?s={SUB1}&o=[orderId]&a={sale_amount}{currency}&n={none}"
    made = scene.pixel(template=template)
    assert scene.read(made["id"])["template"] == template
    shown = console.call("GET", scene.path(made["id"]) + "/preview").json
    url = "https://partner.example/p?s=sample%20one%20%26%20two&o=SAMPLE-1001&a=49.90EUR&n="
    assert shown == {
        "type": "postback",
        "url": url,
        "rendered": url,
        "values": {
            "{SUB1}": "sample one & two",
            "[orderId]": "SAMPLE-1001",
            "{sale_amount}": "49.90",
            "{currency}": "EUR",
            "{none}": "",
        },
        "warnings": [],
    }


@pytest.mark.parametrize("commission", ["cpa", "cpl", "cpc"])
def test_k15_a_preview_before_saving_saves_nothing(
    scene: Scene, console: RunningConsole, commission: str
) -> None:
    body: dict[str, Any] = {
        "commission": commission,
        "type": "postback",
        "template": "https://partner.example/?p={partner_id}&t={is_test}&c={c1}&{commission_type}",
    }
    shown = console.call("POST", scene.path("preview"), body)
    assert shown.status == 200, shown
    sub = "" if commission == "cpc" else "sample%20one%20%26%20two"
    assert shown.json["url"] == (
        f"https://partner.example/?p={scene.partners[0]}&t=1&c={sub}&{commission.upper()}"
    )
    tag = {**body, "type": "image", "template": IMAGE}
    reply = console.call("POST", scene.path("preview"), tag)
    if commission == "cpa":
        assert reply.json["url"] == "https://partner.example/i?o=SAMPLE-1001"
        assert reply.json["rendered"] == (
            '<img src="https://partner.example/i?o=SAMPLE-1001" width="1" height="1">'
        )
    else:
        assert faults_of(reply) == {"type": "invalid"}
    assert console.call("GET", scene.path()).json["items"] == []
    assert console.call("POST", "/v1/partners/prt_9999/pixels/preview", body).status == 404


# ---- Tests of a partner ----------------------------------------------------------------------


def test_k6_a_test_starts_at_the_partners_link_or_at_one_with_fresh_values(
    scene: Scene, console: RunningConsole
) -> None:
    made = scene.pixel(test_url="https://partner.example/my-test")
    path = scene.path(made["id"]) + "/test-links"
    first, second = (console.call("GET", path).json for _ in range(2))
    assert first["test_url"] == "https://partner.example/my-test"
    ((link,), (other,)) = first["links"], second["links"]
    assert link["program_id"] == scene.program
    query = parse_qs(urlsplit(link["url"]).query)
    assert query == {"hw_test": ["1"], **{name: [text] for name, text in first["values"].items()}}
    assert sorted(first["values"]) == ["sub1", "sub2", "sub3", "sub4", "sub5"]
    used = [*first["values"].values(), *second["values"].values()]
    assert len(set(used)) == 10
    assert link["url"].partition("?")[0] == other["url"].partition("?")[0]
    for wrong in ("http://partner.example/", "javascript:1", "https://user@partner.example/"):
        assert faults_of(scene.create(product_id="T", test_url=wrong)) == {"test_url": "invalid"}


def test_k6_a_test_link_is_signed_where_links_are(scene: Scene, console: RunningConsole) -> None:
    secret = console.made(f"/v1/programs/{scene.program}/link-secrets", None)["secret"]
    code = console.call("GET", f"/v1/programs/{scene.program}").json["code"]
    made = scene.pixel(program_id="*")
    told = console.call("GET", scene.path(made["id"]) + "/test-links").json
    (link,) = told["links"]
    (found,) = parse_qs(urlsplit(link["url"]).query)["sig"]
    assert found == signing.sign(secret, code, scene.partners[0], told["values"])


# ---- Secrets ---------------------------------------------------------------------------------


def test_the_secret_of_a_pixel_is_rotated_with_two_valid_meanwhile(
    scene: Scene, console: RunningConsole
) -> None:
    made = scene.pixel()
    path = scene.path(made["id"]) + "/secrets"
    told = [console.made(path, None) for _ in range(3)]
    assert [each["valid"] for each in told] == [1, 2, 2]
    assert len({each["secret"] for each in told}) == 3
    assert scene.read(made["id"])["signing_secrets"] == 2
    key = identity_key.load_or_create(console.config.data)
    (row,) = _salts(console, made["id"])
    assert [webhooks.secret(key, int(made["id"][4:]), salt) for salt in row] == [
        each["secret"] for each in told[1:]
    ]
    assert console.call("DELETE", path).json["signing_secrets"] == 1
    assert _salts(console, made["id"]) == [row[1:]]
    listed = console.call("GET", scene.path())
    assert b"whsec_" not in listed.body
    assert all(salt.encode() not in listed.body for salt in row)


def _salts(console: RunningConsole, pixel: str) -> list[list[str]]:
    rows = pixel_rows(console.ledger, [int(pixel[4:])])
    return [row["signing_salts"] for row in rows.values()]


def test_only_a_postback_is_signed(scene: Scene, console: RunningConsole) -> None:
    made = scene.pixel(type="image", template=IMAGE)
    reply = console.call("POST", scene.path(made["id"]) + "/secrets")
    assert (reply.status, faults_of(reply)) == (422, {"type": "invalid"})
    assert console.call("POST", scene.path("pxl_99999") + "/secrets").status == 404


# ---- Who may ---------------------------------------------------------------------------------


def test_a_partners_key_reads_its_own_pixels_and_changes_none(
    scene: Scene, console: RunningConsole
) -> None:
    made = scene.pixel()
    rival = scene.partner()
    theirs = scene.pixel(rival)["id"]
    key = scene.key()
    own = scene.path(made["id"])
    assert [item["id"] for item in console.call("GET", scene.path(), key=key).json["items"]] == [
        made["id"]
    ]
    for path in (own, f"{own}/preview", f"{own}/test-links"):
        assert console.call("GET", path, key=key).status == 200
    for path in (scene.path(theirs, rival), scene.path(None, rival), scene.path(None, "prt_9999")):
        assert console.call("GET", path, key=key).status == 403
    # Another's pixel under one's own partner is nobody's.
    assert console.call("GET", scene.path(theirs), key=key).status == 404
    assert console.call("PATCH", scene.path(theirs), {"status": "paused"}).status == 404
    for method, path in (
        ("POST", scene.path()),
        ("PATCH", own),
        ("DELETE", own),
        ("POST", f"{own}/secrets"),
        ("DELETE", f"{own}/secrets"),
        ("POST", f"{own}/enable"),
        ("POST", scene.path("preview")),
    ):
        assert console.call(method, path, {}, key=key).status == 403


def test_a_key_of_a_brand_sees_what_is_the_brands(scene: Scene, console: RunningConsole) -> None:
    elsewhere, program = console.brand_and_program("elsewhere")
    console.made(f"/v1/programs/{program}/partners/{scene.partners[0]}", {}, "PUT")
    own, common = scene.pixel()["id"], scene.pixel(program_id="*")["id"]
    other = scene.pixel(program_id=program)["id"]
    key = scene.key(brand_id=elsewhere)
    listed = console.call("GET", scene.path(), key=key).json["items"]
    assert [item["id"] for item in listed] == [common, other]
    assert console.call("GET", scene.path(own), key=key).status == 404
    links = console.call("GET", scene.path(common) + "/test-links", key=key).json["links"]
    assert [link["program_id"] for link in links] == [program]
