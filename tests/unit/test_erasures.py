"""Erasures: what is asked for reaches the log once and in order, and what came of it is told.

The engine is played by outcome rows: what it erases is its own tests' matter.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from console_tools import (
    RunningConsole,
    console_in,
    controls_on,
    faults_of,
    fresh,
    ledger_of,
    program_body,
    redis_in,
    told_to_edges,
    until,
)
from headwater import _core, identity_key, ids, limits
from headwater.config import Config
from headwater.console.publisher import Publisher
from headwater.ledger import erasing, matching, objects, outbox
from headwater.ledger.engine import Ledger
from headwater.model.records import ErasureBody, IdentifierType, Kind, decode
from ledger_tools import (
    NOW_MS,
    acquired,
    batch,
    erasure_outcome,
    hop,
    identify,
    ledger_in,
    with_program,
)

BODY = ErasureBody("identifier", False, False, ((1, bytes(16)),))


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    with console_in(
        tmp_path_factory.mktemp("console"), with_redis=False, read_wait_ms=10, publish_wait_ms=10
    ) as running:
        yield running


def brand_in(console: RunningConsole, **program: Any) -> str:
    """The id of a new brand, with a program; nothing is published here, so both are 503."""
    brand = console.call("POST", "/v1/brands", {"name": "a"}).json["id"]
    console.call("POST", "/v1/programs", {**program_body(brand, fresh()), **program})
    return str(brand)


def key_of(console: RunningConsole) -> bytes:
    return identity_key.load_or_create(console.config.data)


def digest(console: RunningConsole, brand: str, name: str, value: str) -> bytes:
    found = _core.identifier_digest(key_of(console), int(brand[4:]), name, value)
    assert found is not None
    return found


def body_of(console: RunningConsole, erasure_id: str) -> ErasureBody:
    """The record that waits in the outbox."""
    found = erasing.erasure_by_id(console.ledger, ids.parse_event("evt", erasure_id))
    assert found is not None
    return found.body


# ---- What is asked for


def test_an_erasure_is_pending_until_it_is_committed(console: RunningConsole) -> None:
    brand = brand_in(console)
    reply = console.call("POST", "/v1/erasures", {"brand_id": brand, "customer_id": "C-1"})
    assert reply.status == 202
    told = reply.json
    assert reply.headers["Location"] == f"/v1/erasures/{told['id']}"
    assert told["id"].startswith("evt_")
    assert (told["status"], told["scope"], told["dry_run"], told["force"]) == (
        "pending",
        "identifier",
        True,
        False,
    )
    assert (told["identifiers"], told["clicks"], told["orders"]) == ([], None, None)
    assert console.call("GET", f"/v1/erasures/{told['id']}").json["status"] == "pending"
    assert console.call("GET", "/v1/erasures/evt_" + "0" * 26).status == 404
    assert console.call("GET", "/v1/erasures/clk_" + "0" * 26).status == 404


def test_identifiers_are_digested_as_an_edge_does(console: RunningConsole) -> None:
    brand = brand_in(console, default_country="AT")
    click = ids.event_text("clk", bytes(range(16)))
    sent = {
        "click_id": click,
        "external_click_id": "gclid_1",
        "visitor_id": "0abc",
        "customer_id": "C-1",
        "profile_id": "P-1",
        "email": " Ada@Example.org ",
        "phone": "0664 1234567",
        "device_id": "Dev-1",
    }
    reply = console.call("POST", "/v1/erasures", {"brand_id": brand, **sent})
    sha1 = hashlib.sha1(b"ada@example.org").hexdigest()
    expected = {
        (IdentifierType.CLICK, bytes(range(16))),
        (IdentifierType.EMAIL, digest(console, brand, "email_sha1", sha1)),
        (IdentifierType.PHONE, digest(console, brand, "phone", "+436641234567")),
        *(
            (kind, digest(console, brand, name, sent[name]))
            for name, kind in (
                ("customer_id", IdentifierType.CUSTOMER),
                ("profile_id", IdentifierType.PROFILE),
                ("email", IdentifierType.EMAIL),
                ("device_id", IdentifierType.DEVICE),
                ("external_click_id", IdentifierType.EXTERNAL_CLICK),
                ("visitor_id", IdentifierType.VISITOR),
            )
        ),
    }
    found = [(kind, raw) for kind, raw in body_of(console, reply.json["id"]).identifiers]
    assert found == sorted(expected)


def test_the_record_says_scope_and_force_and_is_of_the_brand(console: RunningConsole) -> None:
    brand = brand_in(console)
    sent = {"brand_id": brand, "scope": "person", "dry_run": False, "force": True}
    reply = console.call("POST", "/v1/erasures", {**sent, "visitor_id": "0abc"})
    body = body_of(console, reply.json["id"])
    assert (body.scope, body.dry_run, body.force) == ("person", False, True)
    waiting = outbox.not_appended(console.ledger, 10_000).announcements[-1]
    record = decode(waiting.control)
    assert (record.kind, record.brand, record.event_id) == (
        Kind.ERASURE,
        int(brand[4:]),
        ids.parse_event("evt", reply.json["id"]),
    )
    assert (waiting.for_edges, waiting.number) == (False, waiting.revision)


@pytest.mark.parametrize(
    ("sent", "faults"),
    [
        ({}, {"identifiers": "no_identifier"}),
        ({"email": None}, {"identifiers": "no_identifier"}),
        ({"email": ""}, {"email": "invalid"}),
        ({"email": "no address"}, {"email": "invalid_email"}),
        ({"email_sha256": "zz"}, {"email_sha256": "invalid_email_sha256"}),
        ({"customer_id": "ada@example.org"}, {"customer_id": "pii_in_customer_id"}),
        ({"customer_id": "null"}, {"customer_id": "invalid_identifier"}),
        (
            {"device_id": "00000000-0000-0000-0000-000000000000"},
            {"device_id": "invalid_identifier"},
        ),
        ({"click_id": "clk_x"}, {"click_id": "invalid_identifier"}),
        ({"phone": "0664 1234567"}, {"phone": "phone_country_missing"}),
        (
            {"customer_id": "null", "click_id": "x"},
            dict.fromkeys(("customer_id", "click_id"), "invalid_identifier"),
        ),
        ({"visitor_id": "x" * (limits.IDENTIFIER_CHARACTERS_MAX + 1)}, {"visitor_id": "invalid"}),
        ({"scope": "all", "visitor_id": "0abc"}, {"scope": "invalid"}),
        ({"dry_run": "no", "visitor_id": "0abc"}, {"dry_run": "invalid"}),
        ({"brand_id": "brd_99999", "visitor_id": "0abc"}, {"brand_id": "invalid"}),
    ],
)
def test_erasures_that_are_not_taken(
    console: RunningConsole, sent: dict[str, Any], faults: dict[str, str]
) -> None:
    brand = brand_in(console)
    before = outbox.newest_revision(console.ledger)
    assert faults_of(console.call("POST", "/v1/erasures", {"brand_id": brand, **sent})) == faults
    assert outbox.newest_revision(console.ledger) == before


def test_the_longest_identifier_is_taken(console: RunningConsole) -> None:
    brand = brand_in(console)
    sent = {"brand_id": brand, "customer_id": "x1" * (limits.IDENTIFIER_CHARACTERS_MAX // 2)}
    assert console.call("POST", "/v1/erasures", sent).status == 202


def test_a_number_without_a_country_is_of_no_country_when_programs_differ(
    console: RunningConsole,
) -> None:
    """It could be that of somebody else, in the other country."""
    brand = brand_in(console, default_country="AT")
    body = {**program_body(brand, fresh()), "default_country": "DE"}
    console.call("POST", "/v1/programs", body)
    reply = console.call("POST", "/v1/erasures", {"brand_id": brand, "phone": "0664 1234567"})
    assert faults_of(reply) == {"phone": "phone_country_missing"}


# ---- What came of it


def committed(console: RunningConsole, *rows: tuple[Any, ...]) -> None:
    matching.commit(
        console.ledger, [batch(acquired(console.ledger), erasures=rows)], lease_until_ms=0
    )


def test_a_report_is_told_once_it_is_committed(tmp_path: Path) -> None:
    with console_in(tmp_path, read_wait_ms=60_000) as running:
        brand = brand_in(running)
        replies: list[Any] = []
        sent = {"brand_id": brand, "visitor_id": "0abc", "scope": "person", "dry_run": False}
        asker = threading.Thread(
            target=lambda: replies.append(running.call("POST", "/v1/erasures", sent))
        )
        asker.start()
        until(lambda: erasing.erasure_page(running.ledger, None, before=None, count=1))
        (row,) = erasing.erasure_page(running.ledger, None, before=None, count=1)
        visitor, shared = (8, bytes([0xAB] * 16)), (3, bytes([0xCD] * 16))
        click = ids.event_id(NOW_MS)
        committed(
            running,
            erasure_outcome(
                row["event_id"],
                scope="person",
                identifiers=(visitor,),
                shared=[shared],
                hubs=[shared],
                cut=[hop([6, click], list(shared), bytes(16))],
                clicks=3,
                orders=2,
            ),
        )
        asker.join(60)
        (reply,) = replies
        assert reply.status == 200
        told = reply.json
        assert told["status"] == "done"
        assert told["identifiers"] == [{"type": "visitor_id", "key": "abababab"}]
        assert told["shared"] == told["hubs"] == [{"type": "email", "key": "cdcdcdcd"}]
        assert told["cut"][0]["from"] == {
            "type": "click_id",
            "key": ids.event_text("clk", click),
        }
        assert told["cut"][0]["event_id"] is None
        assert (told["clicks"], told["orders"], told["warnings"]) == (3, 2, [])
        read = running.call("GET", f"/v1/erasures/{told['id']}").json
        del told["warnings"]
        assert read == told


def test_a_dry_run_is_a_preview_and_lists_go_newest_first(console: RunningConsole) -> None:
    brand = brand_in(console)
    made = [
        console.call("POST", "/v1/erasures", {"brand_id": brand, "visitor_id": "0abc"}).json["id"]
        for _ in range(3)
    ]
    event_id = ids.parse_event("evt", made[0])
    committed(console, erasure_outcome(event_id, brand=int(brand[4:]), dry_run=True))
    seen: list[tuple[str, str]] = []
    cursor = ""
    while True:
        page = console.call("GET", f"/v1/erasures?brand_id={brand}&limit=2{cursor}").json
        seen += [(item["id"], item["status"]) for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert sorted(seen, reverse=True) == seen
    assert {each[0] for each in seen} == set(made)
    assert dict(seen)[made[0]] == "preview"
    assert console.call("GET", "/v1/erasures?brand_id=brd_99999").json["items"] == []


# ---- The ledger's part


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with ledger_in(tmp_path) as opened:
        yield opened


def test_a_commit_confirms_the_outbox_row_and_notes_what_is_erased(ledger: Ledger) -> None:
    brand, _ = with_program(ledger)
    first = erasing.request_erasure(ledger, brand, BODY)
    second = erasing.request_erasure(ledger, brand, BODY)
    waiting = matching.uncommitted_controls(ledger, 0)
    assert [decode(raw).kind for raw in waiting][-2:] == [Kind.ERASURE, Kind.ERASURE]
    key = (8, bytes([1]) * 16)
    row = erasure_outcome(first.event_id, brand=brand, identifiers=(key,))
    matching.commit(ledger, [batch(acquired(ledger), erasures=[row])], lease_until_ms=0)
    assert matching.uncommitted_controls(ledger, 0) == [*waiting[:-2], waiting[-1]]
    assert second.revision == first.revision + 1
    keys = [key, (8, bytes([2]) * 16), (3, key[1])]
    assert erasing.erased_of(ledger, brand, NOW_MS, keys) == {key}
    assert erasing.erased_of(ledger, brand + 1, NOW_MS, keys) == frozenset()
    assert erasing.erased_of(ledger, brand, NOW_MS, []) == frozenset()
    # What comes back later is shown: it is known anew.
    later = NOW_MS + 2001
    assert erasing.erased_of(ledger, brand, later, keys) == frozenset()


def test_a_dry_run_erases_nothing_and_an_erasure_again_counts_from_then(ledger: Ledger) -> None:
    key = (8, bytes([1]) * 16)
    dry = erasure_outcome(bytes(16), identifiers=(key,), dry_run=True)
    matching.commit(ledger, [batch(acquired(ledger), to=(1, 0), erasures=[dry])], lease_until_ms=0)
    assert erasing.erased_of(ledger, 1, 0, [key]) == frozenset()
    for number in (1, 2):
        row = erasure_outcome(bytes([number]) * 16, identifiers=(key, key))
        to = (1 + number, 0)
        matching.commit(ledger, [batch(acquired(ledger), to=to, erasures=[row])], lease_until_ms=0)
    assert erasing.erased_of(ledger, 1, NOW_MS, [key]) == {key}


# ---- The publisher's part


def frame(_partition: int, _producer: int, _first: int, records: list[bytes]) -> bytes:
    """A frame as the tests read it: the core checks records, and may be older than they."""
    return bytes(32) + b"".join(records)


async def publish(config: Config, ledger: Ledger, seconds: float) -> bool:
    publisher = Publisher(ledger, config.effective_redis_url, ids.producer_id(), frame, identify)
    await publisher.start()
    try:
        return await publisher.wait(outbox.newest_revision(ledger), seconds)
    finally:
        await publisher.close()


def test_an_erasure_goes_on_the_log_in_its_turn_and_never_to_edges(tmp_path: Path) -> None:
    """Asked for while Redis is away, by a console that is gone since."""
    config = Config(data=tmp_path, partitions=2)
    with ledger_of(config) as ledger:
        brand, program = with_program(ledger)
        erasing.request_erasure(ledger, brand, BODY)
        objects.change_brand(ledger, brand, {"name": "New"})
        erasing.request_erasure(ledger, brand, BODY)
        assert not asyncio.run(publish(config, ledger, 0.2))
        with redis_in(config) as store:
            assert asyncio.run(publish(config, ledger, 5.0))
            kinds = [record.kind for record in controls_on(store)]
            assert kinds == [Kind.CONTROL, Kind.CONTROL, Kind.ERASURE, Kind.CONTROL, Kind.ERASURE]
            assert sorted(told_to_edges(store)) == ["brand:1", "program:1"]
            seed: Any = store.get("hw:config:seed")
            assert asyncio.run(publish(config, ledger, 5.0))
            assert store.get("hw:config:seed") == seed, "nothing was seeded anew"
            log: Any = store.xrange("hw:config:log")
            told = [msgpack.unpackb(fields[b"o"])[1] for _, fields in log]
            assert "erasure" not in told
            store.flushall()
            assert asyncio.run(publish(config, ledger, 5.0))
            assert sorted(told_to_edges(store)) == ["brand:1", "program:1"]
            kinds = [record.kind for record in controls_on(store)]
            assert kinds.count(Kind.ERASURE) == 2
        assert program == 1
