"""Why an action is reversed or modified: the codes that partners are shown.

The words are those of impact.com's action reasons, which managers and partners of the field know;
the last ones are what Headwater itself does.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal, NamedTuple

Actor = Literal["manager", "system"]


class ReversalReason(NamedTuple):
    """`actor`: who may give it. `manager`: anybody who may move actions."""

    actor: Actor
    meaning: str


REVERSAL_REASONS: Final[dict[str, ReversalReason]] = {
    "CONS_FRAUD": ReversalReason("manager", "The customer's order is fraudulent."),
    "CONS_ERROR": ReversalReason("manager", "The customer made a mistake with the order."),
    "ITEM_RETURNED": ReversalReason("manager", "Goods were returned."),
    "ITEM_OUT_OF_STOCK": ReversalReason("manager", "Goods could not be delivered."),
    "ORDER_ERROR": ReversalReason("manager", "The order was reported wrongly."),
    "ORDER_UPDATE": ReversalReason("manager", "The order was changed."),
    "PUB_ACT_DISPUTE": ReversalReason("manager", "The partner disputes the action."),
    "ADV_ACT_DISPUTE": ReversalReason("manager", "The brand disputes the action."),
    "NOT_COMPLIANCE_TERMS": ReversalReason("manager", "The partner broke the terms."),
    "TEST_ACTION": ReversalReason("manager", "The action was a test."),
    "RESET": ReversalReason("manager", "An earlier change was taken back."),
    "REATTRIBUTED": ReversalReason("system", "The credit went to another partner."),
    "FRAUD_REJECTED": ReversalReason("system", "Fraud scoring rejects the conversion now."),
    "CLICK_REJECTED": ReversalReason("system", "The click that earned it was rejected."),
    "ORDER_REVERSED": ReversalReason("system", "The order was reversed as a whole."),
}


def reversal_reason(
    text: str, custom: Collection[str] = (), actor: Actor = "manager"
) -> str | None:
    """The code that `text` names, read without case; None when `actor` has no such code.

    `custom` are the program's own codes, in capitals.
    """
    code = text.strip().upper()
    known = REVERSAL_REASONS.get(code)
    if known is None:
        return code if code in custom else None
    return code if actor == "system" or known.actor == "manager" else None
