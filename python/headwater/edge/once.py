"""Events that a browser may send again: a reload, a retry. Their ids keep them one event."""

from __future__ import annotations

import re
from typing import Any

from headwater.errors import FieldFault, RequestRefused

_EVENT_ID = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)


def take_key(body: dict[str, Any]) -> str | None:
    """Take `event_id` out of a browser's event: the key under which its repeats meet, whichever
    way they come. None when it has no id. Raises RequestRefused.
    """
    event_id = body.pop("event_id", None)
    if event_id is None:
        return None
    if not (isinstance(event_id, str) and _EVENT_ID.fullmatch(event_id)):
        fault = FieldFault("event_id", "invalid", "16 to 64 letters, digits, - or _.")
        raise RequestRefused("invalid", fault.detail, faults=(fault,))
    # Under the program and the kind of event, so that no page meets the events of another.
    return f"tag\n{body.get('program')}\n{body.get('event')}\n{event_id}"
