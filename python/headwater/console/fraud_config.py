"""Fraud rules from what was taken to what is kept, and whether it holds together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import msgpack
import msgspec
from msgspec import UNSET, UnsetType

from headwater import limits
from headwater.console.bodies import refused
from headwater.console.fraud_shapes import FraudRules
from headwater.errors import FieldFault
from headwater.ledger.enrolling import Rewrite
from headwater.model.signals import Signal, signals


def rewrite(given: FraudRules | UnsetType | None, prefix: str = "fraud.") -> Rewrite | None:
    """What a PATCH does to the rules there are; None where it says nothing of them."""
    if given is UNSET:
        return None
    return partial(_patched, None if given is None else msgspec.to_builtins(given), prefix)


def replacement(given: FraudRules | UnsetType | None) -> Rewrite | None:
    """What a PUT does to the rules there are: it takes their place, if it says any."""
    if given is UNSET:
        return None
    return lambda _before: made(given)


def made(given: FraudRules | UnsetType | None, prefix: str = "fraud.") -> dict[str, Any]:
    """Rules where there were none. Raises RequestRefused when they do not hold together."""
    plain = None if given is UNSET or given is None else msgspec.to_builtins(given)
    return _patched(plain, prefix, {})


def _patched(patch: dict[str, Any] | None, prefix: str, before: dict[str, Any]) -> dict[str, Any]:
    after = {} if patch is None else _merged(before, patch)
    faults = [
        FieldFault(f"{prefix}rules.{code}.{name}", "invalid", why)
        for code, rule in after.get("rules", {}).items()
        for name, why in _ramp_faults(signals()[code], rule)
    ]
    if len(msgpack.packb(after)) > limits.FRAUD_RULES_BYTES_MAX:
        detail = f"the rules take more than {limits.FRAUD_RULES_BYTES_MAX} bytes"
        faults.append(FieldFault(prefix.rstrip(".") or "rules", "value_too_long", detail))
    if faults:
        raise refused(faults)
    return after


def _merged(before: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON Merge Patch (RFC 7396) has it; a map that becomes empty goes."""
    after = dict(before)
    for name, value in patch.items():
        merged = _merged(after.get(name, {}), value) if isinstance(value, dict) else value
        if merged is None or merged == {}:
            after.pop(name, None)
        else:
            after[name] = merged
    return after


def _ramp_faults(signal: Signal, rule: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with a rule's ramp. An end it does not name is that of the table."""
    low, high = rule.get("low", signal.low), rule.get("high", signal.high)
    named = "low" if "low" in rule else "high"
    if signal.less_is_worse:
        if low < high:
            yield named, f"less is worse: low ({low}) is not below high ({high})"
    elif low > high:
        yield named, f"low ({low}) is not above high ({high})"
    elif not low:
        yield "low", "from 1 on: at 0 everything would count"
