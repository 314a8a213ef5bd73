"""What a report's `status` may do: let it be a conversion, or keep it as a rejection.

The words are those of Keitaro (lead, sale, rebill, rejected), Everflow (approved, pending,
rejected, invalid) and TUNE (approved, pending, rejected), and `trash`, which lead networks send.
Keitaro's lists turn a network's own words into them, within the postback's address:
`sale_status`, `lead_status`, `rejected_status`, `ignore_status`, values parted by commas.
"""

from __future__ import annotations

from typing import Any

from headwater.edge.fields import Faults
from headwater.errors import RequestRefused

_IGNORED = "ignored"
_LISTS = {
    "sale_status": "sale",
    "lead_status": "lead",
    "rejected_status": "rejected",
    "ignore_status": _IGNORED,
}
_CONVERSIONS = frozenset(("lead", "sale", "rebill", "approved", "pending"))
_REJECTIONS = frozenset(("rejected", "invalid", "trash"))
# What a status says of the event where the report names none.
_EVENTS = {"lead": "lead", "sale": "sale", "rebill": "sale"}
KEPT = ("status_rejected", "status_ignored")
"""Reasons of reports that are no conversions, and no mistakes of their senders either."""


def read_lists(fields: dict[str, Any]) -> None:
    """Turn the status of a flat report into one that is known, by the lists that came with it.

    The sender's word stays, as the property `original_status`.
    """
    sent = fields.get("status")
    for name, status in _LISTS.items():
        words = str(fields.pop(name, "")).lower().split(",")
        if sent and str(sent).lower() in (word.strip() for word in words):
            fields["status"] = status
    given = fields.get("properties", {})
    if fields.get("status") != sent and isinstance(given, dict):
        fields["properties"] = {"original_status": sent, **given}
    implied = _EVENTS.get(str(fields.get("status", "")).lower())
    if implied and not fields.get("event"):
        fields["event"] = implied


def judge(status: str | None, faults: Faults) -> None:
    """Note a status that is not known. Raises RequestRefused for one that is no conversion's."""
    if not status:
        return
    word = status.lower()
    if word in _REJECTIONS:
        raise RequestRefused("status_rejected")
    if word == _IGNORED:
        raise RequestRefused("status_ignored")
    if word not in _CONVERSIONS:
        faults.add("status", "unknown_status")
