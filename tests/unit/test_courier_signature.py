"""What partners are sent is signed as Standard Webhooks says: its vectors and ours hold."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from courier_tools import KEY, add_firing, delivered, egress, partner, rows, status
from headwater.courier.service import Courier
from headwater.ledger.engine import Ledger
from headwater.ledger.schema import firings, partners, pixels
from headwater.model import webhooks
from ledger_tools import ledger_in


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with ledger_in(tmp_path) as opened:
        yield opened


def test_the_published_vectors_of_the_signature_hold() -> None:
    """The first is the specification's own; the others are docs/partner-pixels.md's."""
    found = webhooks.signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        b'{"test": 2432232314}',
    )
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    page = (Path(__file__).parents[2] / "docs" / "partner-pixels.md").read_text("utf-8")
    vectors = json.loads(page.partition("```json vectors\n")[2].partition("```")[0])
    assert vectors
    for vector in vectors:
        headers = webhooks.headers(
            vector["secrets"], vector["id"], vector["timestamp"], vector["target"].encode()
        )
        assert headers["webhook-signature"] == vector["signature"]


@pytest.mark.parametrize("target", ["/p?a=b&c=d", "/p?", "/p??", "?a", "/p?a=%2f&b=%C3%A4?", ""])
def test_what_is_signed_is_what_is_sent(ledger: Ledger, target: str) -> None:
    """Byte for byte, however odd the template: the partner knows nothing but the request."""
    event_id, stamp, signed, sent = asyncio.run(_sent(ledger, ["00" * 16], target))
    secret = webhooks.secret(KEY, 1, "00" * 16)
    assert signed == webhooks.signature(secret, event_id, int(stamp), sent.encode())


def test_a_request_is_signed_under_every_valid_secret(ledger: Ledger) -> None:
    salts = ["00" * 16, "01" * 16]
    event_id, stamp, signed, sent = asyncio.run(_sent(ledger, salts, "/p?a=b&c=d"))
    assert sent == "/p?a=b&c=d"
    secrets = [webhooks.secret(KEY, 1, salt) for salt in salts]
    expected = [
        webhooks.signature(text, event_id, int(stamp), b"/p?a=b&c=d") for text in reversed(secrets)
    ]
    assert signed == " ".join(expected)
    assert len(rows(ledger, firings)) == 1


async def _sent(ledger: Ledger, salts: list[str], target: str) -> tuple[str, str, str, str]:
    """Id, time and signature of a firing that is delivered, and the target it asked for."""
    with ledger.write() as connection:
        common = {"status": "active", "revision": 1, "created_ms": 0, "updated_ms": 0}
        connection.execute(sa.insert(partners).values(id=1, name="p", email="", **common))
        connection.execute(
            sa.insert(pixels).values(
                id=1,
                partner_id=1,
                program_number=0,
                commission="cpa",
                slot="main",
                type="postback",
                template="",
                rule=None,
                delay_ms=0,
                test_url=None,
                signing_salts=salts,
                **common,
            )
        )
    async with partner(status(200)) as server, egress() as made:
        event = add_firing(ledger, f"http://127.0.0.1:{server.port}{target}")
        await delivered(Courier(ledger, made, KEY), ledger, [event])
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        event_id, stamp, signed = (server.field(name) or "" for name in names)
        return event_id, stamp, signed, server.targets[0]
