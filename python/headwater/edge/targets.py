"""Where a click goes: one of a link's destinations or a deep link, ready to be filled in.

All that does not depend on the visitor is worked out once for a link, at its first click after it
or its program changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote

from headwater.edge.link_options import Rule
from headwater.edge.links import Link, Program
from headwater.model.destination import CLICK_ID, TOKEN, joint, names_of, parts
from headwater.model.devices import DESKTOP, MOBILE, device_of

Pieces = tuple[str, ...]
"""Text and token names by turns; text comes first and last."""


class Target(NamedTuple):
    """A destination, utm parameters added. What a redirect adds stands between head and tail."""

    head: str
    joint: str
    """What stands between the head and one more parameter."""
    tail: str
    names: frozenset[str]
    """Names of the parameters it has already."""
    is_closed: bool
    """It places the click id itself."""
    pieces: tuple[Pieces, Pieces] | None
    """Head and tail where there are tokens to fill in."""


class Prepared(NamedTuple):
    """What a link leads to."""

    link: Link
    program: Program
    own: Target
    rules: tuple[tuple[Rule, Target], ...]
    expired: Target | None


class Targets:
    """The destinations of the links that were clicked."""

    def __init__(self) -> None:
        self._prepared: dict[int, Prepared] = {}

    def of(self, link: Link, program: Program) -> Prepared:
        """The destinations of a link as link and program are now."""
        found = self._prepared.get(link.number)
        if found is None or found.link is not link or found.program is not program:
            found = self._prepared[link.number] = _prepare(link, program)
        return found


def _prepare(link: Link, program: Program) -> Prepared:
    utm = _utm(link, program)
    options = link.options
    return Prepared(
        link,
        program,
        _target(link.url, utm, program),
        tuple((rule, _target(rule.url, utm, program)) for rule in options.rules),
        None if options.expired_url is None else _target(options.expired_url, {}, program),
    )


def _utm(link: Link, program: Program) -> Mapping[str, str]:
    return {**program.options.utm, **link.options.utm}


def _target(url: str, utm: Mapping[str, str], program: Program) -> Target:
    head, added, tail = parts(url, utm, override=program.options.utm_override)
    return _joined(head, added, tail, program, has_tokens=bool(TOKEN.search(head + tail)))


def deep(url: str, link: Link, program: Program) -> Target:
    """A deep link that was judged. Its braces are its own: no token is filled in them."""
    utm = _utm(link, program)
    head, added, tail = parts(url, utm, override=program.options.utm_override)
    return _joined(head, added, tail, program, has_tokens=False)


def _joined(head: str, added: str, tail: str, program: Program, *, has_tokens: bool) -> Target:
    """`has_tokens`: the destination's own text has some; what is added may have some too."""
    own = head + joint(head) if added else head
    whole = own + added
    placed = f"{program.click_param}={{{CLICK_ID}}}"
    pieces = None
    if has_tokens:
        pieces = (_pieces(whole), _pieces(tail))
    elif TOKEN.search(added):
        first, *rest = _pieces(added)
        pieces = ((own + first, *rest), (tail,))
    return Target(
        whole,
        joint(whole),
        tail,
        frozenset(names_of(whole)),
        has_tokens and placed in head.partition("?")[2].split("&"),
        pieces,
    )


def chosen(prepared: Prepared, user_agent: str | None, country: str | None) -> Target:
    """The destination for a visitor: that of the first rule that fits, else the link's own."""
    if not prepared.rules:
        return prepared.own
    kinds = devices_of(user_agent)
    for rule, target in prepared.rules:
        fits_device = not rule.devices or not rule.devices.isdisjoint(kinds)
        if fits_device and (not rule.countries or country in rule.countries):
            return target
    return prepared.own


def devices_of(user_agent: str | None) -> frozenset[str]:
    """What a device is, in the words of a link's rules."""
    name = device_of(user_agent) if user_agent else DESKTOP
    return frozenset((name,) if name == DESKTOP else (name, MOBILE))


def _pieces(text: str) -> Pieces:
    return tuple(TOKEN.split(text))


def filled(pieces: Pieces, values: Mapping[str, str]) -> str:
    """The pieces with their tokens filled in, percent-encoded.

    What stands in braces and is no token stays: a destination leaves byte for byte.
    """
    found = []
    for index, piece in enumerate(pieces):
        if index % 2 == 0:
            found.append(piece)
        elif piece in values:
            found.append(quote(values[piece], safe=""))
        else:
            found.append(f"{{{piece}}}")
    return "".join(found)
