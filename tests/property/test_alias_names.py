"""Names of other networks against a naive reading of the tables."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from headwater.edge.flat import _OWN
from headwater.edge.naming import named
from headwater.model import aliases
from headwater.model.aliases import ITEM_NAMES, PROPERTY

LAWS = settings(max_examples=400, deadline=None, derandomize=True, database=None)
TABLE = aliases.merged(aliases.PRESETS, {"note": PROPERTY + "note", "c_id": "customer_id"})
# Read by what they stand for: a digest of an address, the parts of items.
PLAIN = sorted(
    name for name, target in TABLE.items() if target != "email" and target not in ITEM_NAMES
)
word = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
values = word.filter(lambda text: "@" not in text and "%" not in text)
events = st.lists(st.tuples(st.sampled_from(PLAIN), values), max_size=8)


def spelled(name: str, upper: list[bool]) -> str:
    """A name in capitals here and there."""
    return "".join(
        character.upper() if big else character
        for character, big in zip(name, itertools.cycle(upper), strict=False)
    )


def read_naively(pairs: list[tuple[str, str]]) -> tuple[dict[str, Any], set[str]]:
    """Fields and conflicts, by looking every name up by itself."""
    given_values: dict[str, list[str]] = {}
    for name, value in pairs:
        target = TABLE[name]
        is_field = target in _OWN or target.startswith(PROPERTY)
        given_values.setdefault(target if is_field else PROPERTY + target, []).append(value)
    fields: dict[str, Any] = {}
    kept: dict[str, str] = {}
    for target, found in given_values.items():
        if target.startswith(PROPERTY):
            kept[target.removeprefix(PROPERTY)] = found[0]
        else:
            fields[target] = found[0]
    if kept:
        fields["properties"] = kept
    conflicts = {
        target.removeprefix(PROPERTY)
        for target, found in given_values.items()
        if len(set(found)) > 1
    }
    return fields, conflicts


@LAWS
@given(events, st.lists(st.booleans(), min_size=1, max_size=7))
def test_an_event_under_other_names_is_the_same_event(
    pairs: list[tuple[str, str]], upper: list[bool]
) -> None:
    found = named([(spelled(name, upper), value) for name, value in pairs], TABLE, _OWN)
    fields, conflicts = read_naively(pairs)
    assert (found.fields, set(found.conflicts)) == (fields, conflicts)


@LAWS
@given(events, st.randoms(use_true_random=False))
def test_the_order_of_names_does_not_matter(pairs: list[tuple[str, str]], random: Any) -> None:
    shuffled = random.sample(pairs, len(pairs))
    one, other = named(pairs, TABLE, _OWN), named(shuffled, TABLE, _OWN)
    assert set(one.conflicts) == set(other.conflicts)
    assume(not one.conflicts)
    assert one.fields == other.fields


@LAWS
@given(st.dictionaries(st.text(max_size=10), values, max_size=8))
def test_what_has_no_alias_keeps_its_name(sent: dict[str, str]) -> None:
    assume(not {name.lower() for name in sent} & (TABLE.keys() | _OWN))
    assert named(sent.items(), TABLE, _OWN).fields == sent
