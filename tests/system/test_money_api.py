"""Through a whole system, by its APIs alone: terms, a click, its sale, its payment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from system_tools import System


def test_from_terms_to_payment_through_the_api(tmp_path: Path) -> None:
    with System(tmp_path) as system:
        scene = system.program(partners=1)
        console = system.console
        terms: dict[str, Any] = {
            "events": {"sale": {"default": {"kind": "percent", "ppm": 50_000}}},
            "approve": "manual",
        }
        assert console.post("/v1/programs/prg_1/terms", terms)["version"] == 1
        system.links_when_committed()
        landed = system.edge("GET", f"/c/{scene.codes[0]}").headers["location"]
        sale = {
            "program": scene.program,
            "event": "sale",
            "order_id": "A-1",
            "click_id": landed.rpartition("click_id=")[2],
            "amount": "80.00",
        }
        (told,) = system.convert(sale, scene.key)["actions"]
        action = f"/v1/actions/{told['action_id']}"
        assert (told["state"], told["payout"]) == ("pending", "4.00")
        assert console.post(f"{action}/approve", {})["state"] == "approved"
        left = {"amount": "60.00", "reason": "ITEM_RETURNED"}
        assert console.post(f"{action}/modify", left)["payout"] == "3.00"
        settle = {"until": "2099-01-01T00:00:00Z"}
        assert console.post("/v1/settle", settle)["brands"][0]["locked"] == 1
        assert console.post(f"{action}/pay", {})["state"] == "paid"
        (total,) = console.get("/v1/reports/balance")["totals"]
        assert (total["owed"], total["paid"], total["brand_expense"]) == ("0.00", "3.00", "-3.00")
        verbs = [each["verb"] for each in console.get(action)["moves"]]
        assert verbs == ["create", "approve", "modify", "lock", "pay"]
