"""What identifies a visitor stops at the edge: it is searched for in everything that is kept."""

from __future__ import annotations

import hashlib
from pathlib import Path

from system_tools import System

MAIL = "ada.lovelace@visitors.example"
PHONE = "+442079460958"
CUSTOMER = "customer-8812-unmistakable"
ADDRESS = "203.0.113.77"


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
