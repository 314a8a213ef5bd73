"""A system that runs forgets, in all its files, and goes on from them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import redis

from headwater import _core, identity_key
from headwater.ops.verify import run_verify
from rewrite_tools import held_in
from system_tools import System, wait_for

MAIL = "ada.lovelace@visitors.example"


def digests_of(system: System) -> list[bytes]:
    """Under which digests the system knows the visitor."""
    key = identity_key.load_or_create(system.settings.data)
    forms = [("email", MAIL), ("email_sha1", hashlib.sha1(MAIL.encode()).hexdigest())]
    found = [_core.identifier_digest(key, 1, *each) for each in (*forms, ("customer_id", "C-1"))]
    return [digest for digest in found if digest is not None]


def in_redis(system: System, digest: bytes) -> list[bytes]:
    """The keys in whose values a digest stands, also where it is trimmed and not yet given up."""
    with redis.Redis.from_url(system.settings.effective_redis_url, protocol=2) as client:
        return [key for key in client.scan_iter() if digest in (client.dump(key) or b"")]


def test_a_system_that_runs_forgets_in_all_its_files_and_starts_from_them(tmp_path: Path) -> None:
    system = System(tmp_path, edges=1)
    system.start()
    try:
        scene = system.program()
        buy(system, scene, "A-1", email=MAIL, customer_id="C-1")
        buy(system, scene, "A-2", customer_id="C-2")
        digests = digests_of(system)
        data = system.settings.data
        assert all(held_in(data / "archive", digest) for digest in digests)
        asked = {"brand_id": "brd_1", "email": MAIL, "scope": "person", "dry_run": False}
        assert system.console.post("/v1/erasures", asked)["status"] == "done"
        assert system.stop() == 0
        system.start()
        buy(system, scene, "A-3", customer_id="C-3")
        # The log keeps a few kilobytes of what is behind it, until others take their place.
        for _ in range(60):
            assert system.edge("GET", f"/c/{scene.codes[0]}").status == 302
        wait_for(lambda: not any(in_redis(system, each) for each in digests), 60, "it is trimmed")
        command = [sys.executable, "-m", "headwater", "rewrite", "--now", "--data", str(data)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout == "1 erasures carried into archive and ledger, 0 wait\n"
        buy(system, scene, "A-4", customer_id="C-4")
        assert system.stop() == 0
        for digest in digests:
            assert held_in(data, digest) == []
        assert run_verify(system.settings) == 0
        for path in (data / "snapshots").rglob("*.snap"):
            path.unlink()
        system.start()
        wait_for(lambda: system.events("engine rebuilt"), 60, "the archive alone is enough")
        sale = order(scene, "A-1", customer_id="C-1", email=MAIL)
        system.convert(sale, scene.key, 200)
    finally:
        system.kill()


def order(visited: Any, order_id: str, **person: str) -> dict[str, Any]:
    sale = {"program": visited.program, "event": "sale", "order_id": order_id, "amount": "10.00"}
    return {**sale, **person}


def buy(system: System, visited: Any, order_id: str, **person: str) -> None:
    """Somebody is seen on a page of the shop, and buys."""
    seen = {"program": visited.program, **person}
    if len(person) > 1:
        assert system.edge("POST", "/v1/identify", seen, visited.key).status == 202
    sale = order(visited, order_id, **person)
    system.convert(sale, visited.key)
