"""The secrets of a shop's webhooks: taken, kept sealed, retired."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from console_tools import RunningConsole, console_in, fresh, told_to_edges
from headwater.model import sealing, signing


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    with console_in(tmp_path_factory.mktemp("console")) as running:
        yield running


def test_i22_a_shops_secret_is_kept_sealed_and_never_told(console: RunningConsole) -> None:
    _, program = console.brand_and_program(fresh())
    path = f"/v1/programs/{program}"
    number = int(program.removeprefix("prg_"))
    secrets = [f"shpss_{letter * 32}" for letter in "abc"]
    for valid, secret in zip((1, 2, 2), secrets, strict=True):
        reply = console.call("POST", f"{path}/shopify-secrets", {"secret": secret})
        assert (reply.status, reply.json) == (201, {"program_id": program, "valid": valid})

    def opened() -> list[str]:
        assert console.store is not None
        kept = told_to_edges(console.store)[f"program:{number}"][3]["shopify_secrets"]
        key = bytes.fromhex((console.config.data / "identity.key").read_text().strip())
        return [sealing.opened(key, signing.SHOPIFY, number, sealed) for sealed in kept]

    assert opened() == secrets[1:]
    read = console.call("GET", path)
    assert read.json["shopify_secrets"] == 2
    assert console.call("DELETE", f"{path}/shopify-secrets").json["shopify_secrets"] == 1
    assert opened() == secrets[2:]
    written = [*console.config.data.glob("ledger.sqlite*"), *console.config.data.rglob("*.aof")]
    for place in (read.body, *(file.read_bytes() for file in written)):
        assert not any(secret.encode() in place for secret in secrets)


@pytest.mark.parametrize("secret", [None, "", "x" * 15, "x" * 129, "x" * 20 + " ", "ü" * 20, 7])
def test_what_is_no_secret_of_a_shop_is_refused(console: RunningConsole, secret: Any) -> None:
    _, program = console.brand_and_program(fresh())
    path = f"/v1/programs/{program}/shopify-secrets"
    assert console.call("POST", path, {"secret": secret}).status == 422
    for length in (16, 128):
        assert console.call("POST", path, {"secret": "x" * length}).status == 201
    for method in ("POST", "DELETE"):
        missing = "/v1/programs/prg_999999/shopify-secrets"
        assert console.call(method, missing, {"secret": "x" * 20}).status == 404
