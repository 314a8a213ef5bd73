"""What identifies a visitor stops at the edge: it is searched for in everything that is kept."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import msgpack

from system_tools import System, request

MAIL = "ada.lovelace@visitors.example"
PHONE = "+442079460958"
CUSTOMER = "customer-8812-unmistakable"
ADDRESS = "203.0.113.77"
ADDRESS_6 = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff"


CARD = "4111 1111 1111 1111"
CARD_FORMS = (CARD, CARD.replace(" ", ""), CARD.replace(" ", "+"), CARD.replace(" ", "%20"))


def records(ledger: Path) -> Iterator[Any]:
    with closing(sqlite3.connect(ledger)) as connection:
        for table in ("clicks", "conversions"):
            for (raw,) in connection.execute(f"SELECT record FROM {table}"):
                yield msgpack.unpackb(raw, strict_map_key=False)


def values(value: Any) -> Iterator[Any]:
    """Everything in a record that is no container."""
    if isinstance(value, list):
        for member in value:
            yield from values(member)
    elif isinstance(value, dict):
        yield from values([*value.keys(), *value.values()])
    else:
        yield value


def in_any_form(text: str) -> set[Any]:
    """An address as text, number and bytes, whole and as the line it belongs to."""
    address = ipaddress.ip_address(text)
    forms = {text, address.exploded, int(address), address.packed}
    return forms | {address.packed[:8], int(address) >> 64} if address.version == 6 else forms


def test_an_address_is_in_no_record_in_any_form(tmp_path: Path) -> None:
    system = System(tmp_path, environment={"HEADWATER_TRUSTED_PROXIES": "127.0.0.0/8"})
    system.start()
    try:
        scene = system.program()
        sale = {"program": scene.program, "event": "sale", "amount": "1.00", "customer_id": "c"}
        for number, address in enumerate((ADDRESS, ADDRESS_6)):
            forwarded = {"X-Forwarded-For": address}
            path = f"/c/{scene.codes[0]}"
            assert system.edge("GET", path, headers=forwarded).status == 302
            ahead = {**forwarded, "Sec-Purpose": "prefetch"}
            assert system.edge("GET", path, headers=ahead).status == 302
            body = {**sale, "order_id": f"A-{number}", "ip": address}
            system.convert(body, scene.key)
        system.wait_committed(6)
        assert system.stop() == 0
    finally:
        system.kill()
    kept = list(records(tmp_path / "data" / "ledger.sqlite"))
    assert len(kept) == 6
    forms = in_any_form(ADDRESS) | in_any_form(ADDRESS_6)
    for record in kept:
        assert not forms.intersection(values(record))
        prefix, network = record[7][6 if record[0] == 1 else 13][0:4:3]
        assert prefix in ("203.0.113.0/24", "2001:db8:aaaa::/48")
        assert len(network[0]) == 8, "the digest is there"
    digests = {record[7][6 if record[0] == 1 else 13][3][0] for record in kept}
    assert len(digests) == 2, "one of each address: all edges share the key"


def test_no_raw_identifier_is_kept_anywhere(tmp_path: Path) -> None:
    system = System(tmp_path, environment={"HEADWATER_TRUSTED_PROXIES": "127.0.0.0/8"})
    system.start()
    try:
        scene = system.program()
        forwarded = {"X-Forwarded-For": ADDRESS}
        assert system.edge("GET", f"/c/{scene.codes[0]}", headers=forwarded).status == 302
        person = {"email": MAIL, "phone": PHONE, "customer_id": CUSTOMER}
        identify = {"program": scene.program, **person}
        assert system.edge("POST", "/v1/identify", identify, scene.key).status == 202
        sale = {
            "program": scene.program,
            "event": "sale",
            "order_id": "A-1",
            "amount": "10.00",
            "ip": ADDRESS,
            **person,
        }
        system.convert(sale, scene.key)
        refused = {**sale, "order_id": "A-2", "customer_id": MAIL}
        assert system.edge("POST", "/v1/conversions", refused, scene.key).status == 422
        send_address_elsewhere(system, scene, {**sale, "order_id": "A-3"})
        system.wait_committed(8)
        assert system.stop() == 0
    finally:
        system.kill()
    secrets = [MAIL, PHONE, PHONE[1:], CUSTOMER, ADDRESS, "ada.lovelace"]
    secrets += [hashlib.sha256(MAIL.encode()).hexdigest(), hashlib.sha1(MAIL.encode()).hexdigest()]
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "ledger.sqlite" for path in kept)
    assert any("appendonlydir" in str(path) for path in kept)
    for path in kept:
        content = path.read_bytes()
        found = [secret for secret in secrets if secret.encode() in content]
        assert not found, path


def send_address_elsewhere(system: System, scene: Any, sale: dict[str, Any]) -> None:
    """The address where none belongs: five events are taken, without it."""
    headers = {"Referer": f"https://mail.example/inbox/{quote(MAIL)}?to={MAIL}"}
    shown = urlencode({"sub1": MAIL, "utm_term": f"{'x' * 250} {MAIL}", "source": quote(MAIL)})
    path = f"/c/{scene.codes[0]}?{shown}"
    assert system.edge("GET", path, headers=headers).status == 302
    kept = {"properties": {"note": MAIL}}
    system.convert({**sale, **kept}, scene.key)
    click = {"program": scene.program, "link": scene.codes[0], "sub2": MAIL, "referrer": MAIL}
    assert system.edge("POST", "/v1/clicks", click, scene.key).status == 201
    for name in ("order_id", "line", "product_id", "promo_code"):
        body = {**sale, name: MAIL}
        assert system.edge("POST", "/v1/conversions", body, scene.key).status == 422
    query = {"program": scene.program, "event": "sale", "customer_id": "c", "order_id": MAIL}
    assert system.edge("GET", f"/px.gif?{urlencode(query)}").status == 200
    query |= {"token": scene.key, "status": "rejected"}
    assert system.edge("GET", f"/postback?{urlencode(query)}").body == b"OK"


def test_no_card_number_is_kept_or_logged_anywhere(tmp_path: Path) -> None:
    """Method: it is sent by every route, in every place of a request, and searched for in logs,
    in what Redis writes to its file and in the ledger; the key of a postback's address as well.
    """
    system = System(tmp_path)
    system.start()
    try:
        scene = system.program()
        send_cards(system, scene)
        # One good order shows that what was searched is where events end.
        sale = {"program": scene.program, "event": "sale", "order_id": "GOOD", "customer_id": "c"}
        system.convert(sale, scene.key)
        assert system.stop() == 0
    finally:
        system.kill()
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert any(b"GOOD" in content for path, content in kept.items() if "sqlite" in path.name)
    assert any("appendonlydir" in str(path) for path in kept)
    for path, content in kept.items():
        found = [form for form in CARD_FORMS if form.encode() in content]
        assert not found, path
        assert scene.key.encode() not in content, path


def send_cards(system: System, scene: Any) -> None:
    """A card number in each field of each event, by each way; none of it is taken."""
    event = {"program": scene.program, "event": "lead", "customer_id": "c"}
    fields = ("order_id", "promo_code", "customer_id", "profile_id", "device_id", "line", "odd")
    for field in fields:
        body = {**event, field: CARD}
        assert system.edge("POST", "/v1/conversions", body, scene.key).status == 422
        rows = system.edge("POST", "/v1/events", [{"type": "conversion", **body}], scene.key)
        assert rows.json[0]["code"] == "card_number_refused"
        query = urlencode({**body, "token": scene.key})
        assert system.edge("GET", f"/postback?{query}").body == b"card_number_refused"
        assert system.edge("GET", f"/px.gif?{query}").status == 200
        sent = json.dumps({"type": "conversion", **body}).encode()
        collected = {"Content-Type": "text/plain"}
        assert system.edge("POST", "/v1/collect", sent, headers=collected).status == 422
    for body in ({"properties": {"a": CARD}}, {"items": [{"sku": CARD}]}, {CARD: "x"}):
        assert system.edge("POST", "/v1/conversions", {**event, **body}, scene.key).status == 422
    identify = {"program": scene.program, "customer_id": CARD}
    assert system.edge("POST", "/v1/identify", identify, scene.key).status == 422
    shown = urlencode({"sub1": CARD, "utm_term": CARD, "u": f"https://shop.example/?c={CARD}"})
    headers = {"User-Agent": f"Mozilla/5.0 {CARD}", "Referer": f"https://a.example/?pay={CARD}"}
    page = {"type": "page", "program": scene.program, "url": f"https://shop.example/{quote(CARD)}"}
    origin = {"Content-Type": "text/plain", "Origin": "https://shop.example"}
    seen = system.edge("POST", "/v1/collect", json.dumps(page).encode(), headers=origin)
    assert seen.status == 202
    encoded = {"Referer": f"https://a.example/{quote(CARD)}?pay={CARD.replace(' ', '+')}"}
    assert system.edge("GET", f"/c/{scene.codes[0]}", headers=encoded).status == 302
    path = f"/c/{scene.codes[0]}?{shown}"
    assert system.edge("GET", path, headers=headers).status == 302
    assert request(system.settings.port, "GET", f"/{CARD.replace(' ', '')}").status == 404
