"""What identifies a visitor stops at the edge: it is searched for in everything that is kept."""

from __future__ import annotations

import hashlib
import ipaddress
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgpack

from system_tools import System

MAIL = "ada.lovelace@visitors.example"
PHONE = "+442079460958"
CUSTOMER = "customer-8812-unmistakable"
ADDRESS = "203.0.113.77"
ADDRESS_6 = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff"


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
            assert system.edge("POST", "/v1/conversions", body, scene.key).status == 201
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
        assert system.edge("POST", "/v1/conversions", sale, scene.key).status == 201
        refused = {**sale, "order_id": "A-2", "customer_id": MAIL}
        assert system.edge("POST", "/v1/conversions", refused, scene.key).status == 422
        system.wait_committed(3)
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
