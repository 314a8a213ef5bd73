"""Whether what a link's query says is what its program signed."""

from __future__ import annotations

import functools

from headwater import ids
from headwater.edge.links import Link, Program
from headwater.edge.query import Query
from headwater.model import signing

_NOT_HONOURED = frozenset((*signing.COVERED, signing.SIGNATURE))


def is_tampered(key: bytes, program: Program, link: Link, query: Query, now_ms: int) -> bool:
    """Whether a program that looks at signatures finds none that holds.

    A link that carries nothing a signature covers needs none: its code says whose it is. `key`
    is the deployment's.
    """
    values = {name: value for name in signing.COVERED if (value := query.get(name))}
    if not values and signing.SIGNATURE not in query:
        return False
    return not signing.holds(
        _secrets(key, program.number, program.options.salts),
        query.get(signing.SIGNATURE) or "",
        program.code,
        ids.object_text("prt", link.partner),
        values,
        now_ms // 1000,
    )


def unsigned(query: Query) -> Query:
    """The query without what a signature has to cover."""
    return query.without(_NOT_HONOURED)


@functools.lru_cache(maxsize=1024)
def _secrets(key: bytes, program: int, salts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(signing.secret(key, program, salt) for salt in salts)
