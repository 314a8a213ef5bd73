"""What the hot lane in Rust is told: names and bounds, links and event types worked out, lists,
keys.

Whatever needs more than that is not its own: it says so, and the ordinary handlers answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import quote, quote_from_bytes

from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time

from headwater import _core, ids, limits
from headwater.edge import cookies
from headwater.edge.address import place
from headwater.edge.context import Edge
from headwater.edge.fields import CLICK_PARAMETERS
from headwater.edge.links import Link, Program, Value, pass_over
from headwater.edge.lists import AddressLists
from headwater.edge.redirect import AD_CLICK_IDS, forwarded_names
from headwater.edge.responses import GIF, Redirect, gif
from headwater.edge.routes import ROUTES
from headwater.edge.targets import Pieces, Target
from headwater.model.aliases import TAKEN
from headwater.model.currency import EXPONENTS
from headwater.model.destination import CLICK_ID

Taken = tuple[int, bytes, int, bytes, bool, str, str | None]
"""Bytes taken, the answer, the partition, the record, whether the connection ends; what the request
came to (click, conversion, rejection), and why it is refused.
"""

_TIMESTAMP: Final = "timestamp"
_OF_VISITS: Final = frozenset((CLICK_ID, _TIMESTAMP, *CLICK_PARAMETERS))
_OF_PIXELS: Final = TAKEN | {"_"}


def _head_of(answer: web.Response) -> str:
    """Status and headers of an answer as they leave, but for those of the moment."""
    lines = [f"{answer.status} {answer.reason}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    return "\r\n".join([*lines, f"Content-Length: {answer.content_length}", ""])


class HotRules(NamedTuple):
    """Names and bounds of the ordinary lane, to which the hot one is held."""

    identity_key: bytes
    answer_head: str = Redirect.HEAD
    pixel_head: str = _head_of(gif())
    pixel_image: bytes = GIF
    parameters: tuple[str, ...] = CLICK_PARAMETERS
    ad_click_ids: tuple[str, ...] = AD_CLICK_IDS
    reserved_paths: frozenset[str] = frozenset(ROUTES)
    parameter_bytes_max: int = limits.PARAMETER_BYTES_MAX
    user_agent_bytes_max: int = limits.USER_AGENT_BYTES_MAX
    referrer_bytes_max: int = limits.REFERRER_BYTES_MAX
    fetch_bytes_max: int = limits.FETCH_BYTES_MAX
    accept_bytes_max: int = limits.ACCEPT_BYTES_MAX
    language_bytes_max: int = limits.LANGUAGE_BYTES_MAX
    agent_brands_bytes_max: int = limits.AGENT_BRANDS_BYTES_MAX
    agent_hint_bytes_max: int = limits.AGENT_HINT_BYTES_MAX
    query_parameters_max: int = limits.QUERY_PARAMETERS_MAX
    forwarded_hops_max: int = limits.FORWARDED_HOPS_MAX
    location_bytes_max: int = limits.LOCATION_BYTES_MAX
    cookie_age_s_max: int = limits.COOKIE_AGE_S_MAX
    code_characters_max: int = limits.LINK_CODE_CHARACTERS_MAX
    pixel_value_bytes_max: int = min(limits.PARAMETER_BYTES_MAX, limits.ORDER_ID_BYTES_MAX)
    amount_digits_max: int = limits.AMOUNT_DIGITS_MAX
    currencies: Mapping[str, int] = EXPONENTS


class HotLink(NamedTuple):
    """A link that is served now, with all that does not depend on the visit."""

    number: int
    program: int
    partner: int
    brand: int
    partition: int
    flags: int
    expires_ms: int | None
    is_denied: bool
    site: str
    cookie_age_s: int
    head: list[tuple[str, str | None]]
    """The destination up to where parameters are added: texts, each with the token behind it."""
    joint: str
    tail: list[tuple[str, str | None]]
    click_param: str | None
    """None: the destination places the click's id itself."""
    forward: list[tuple[str, str]]
    """Parameters handed on: the name in the request, and as it leaves."""


class HotEvent(NamedTuple):
    """An event type that the pixel may report now, with all that does not depend on the report."""

    number: int
    program: int
    brand: int
    partition: int
    needs_order: bool
    is_denied: bool
    site: str
    currency: str


class HotSource:
    """Answers what the lane has not been told."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    def link(self, host: str, code: str) -> HotLink | None:
        """The link of a code on a tracking domain, or on no such (""); None: not for this lane."""
        edge = self._edge
        table = edge.table
        link = table.link(host, code)
        program = table.programs.get(link.program) if link else None
        if link is None or program is None:
            return None
        is_served = (
            link.active
            and table.program_active(program)
            and table.partner_active(program.number, link.partner)
        )
        # Signed parameters and rules for devices and countries are the ordinary lane's.
        if not is_served or program.options.signing or link.options.rules:
            return None
        target = edge.targets.of(link, program).own
        head, tail = target.pieces or ((target.head,), (target.tail,))
        if not program.brand or "{truncated}" in target.head + target.tail:
            return None
        return HotLink(
            number=link.number,
            program=program.number,
            partner=link.partner,
            brand=program.brand,
            partition=table.partition(program.brand),
            flags=link.flags,
            expires_ms=link.expires_ms,
            is_denied=program.denied,
            site=program.site,
            cookie_age_s=table.cookie_age_s(program),
            head=_parts(head, link, program),
            joint=target.joint,
            tail=_parts(tail, link, program),
            click_param=None if target.is_closed else program.click_param,
            forward=_forwarded(program, target),
        )

    def event(self, program_code: str, code: str) -> HotEvent | None:
        """The event type that two codes name; None: not for this lane."""
        table = self._edge.table
        program = table.program(program_code)
        if program is None or not program.brand or not table.program_active(program):
            return None
        is_on = program.methods is None or "pixel" in program.methods
        # A parameter that means something else to the program is the ordinary lane's.
        if not is_on or not program.aliases.keys().isdisjoint(_OF_PIXELS):
            return None
        found = table.event_type(program.number, code)
        if found is None or not found.active or found.kind == "click":
            return None
        return HotEvent(
            number=found.number,
            program=program.number,
            brand=program.brand,
            partition=table.partition(program.brand),
            needs_order=found.kind == "sale",
            is_denied=program.denied,
            site=program.site,
            currency=program.currency,
        )

    def site(self, host: str) -> str:
        """The registrable domain of a host."""
        return cookies.site(host)

    def country(self, address: str) -> str | None:
        """The country of an address, as the lists have it."""
        at = place(address)
        return None if at is None else self._edge.networks.lists.addresses.of(at)[1]

    def random(self, count: int) -> bytes:
        """Fresh random bytes."""
        return ids.random_bytes(count)


class HotLinks:
    """The hot lane of an edge, kept as the edge is."""

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self._core = _core.HotLane(
            HotRules(edge.identity_key), edge.proxies.ranges.packed(), HotSource(edge)
        )
        self._lists: AddressLists | None = None
        self._keys_as_of = (-1, -1)
        self._are_domains_told = False
        edge.table.watch = self._watch

    def close(self) -> None:
        """Watch the table no more."""
        self.edge.table.watch = pass_over

    def take(self, data: bytes, peer: str) -> Taken | None:
        """What can be made of the request at the start of `data`; None: nothing, or not plainly."""
        now_ms = self.edge.now_ms()
        return self.core(now_ms).take(data, peer, now_ms, rfc822_formatted_time())

    def core(self, now_ms: int) -> _core.HotLane:
        """The lane, told what has changed."""
        edge = self.edge
        lists, keys = edge.networks.lists.addresses, edge.networks.keys
        if lists is not self._lists:
            self._tell_lists(lists)
        day = now_ms // limits.DAY_MS
        if self._keys_as_of != (keys.changes, day):
            self._keys_as_of = (keys.changes, day)
            self._core.set_keys(day, keys.key(day), keys.key(day - 1))
        if not self._are_domains_told:
            self._are_domains_told = True
            self._core.set_domains(edge.table.domain_hosts)
        return self._core

    def _tell_lists(self, lists: AddressLists) -> None:
        self._core.set_lists(
            lists.loaded_flags,
            lists.version,
            lists.packed,
            lists.crawler_names,
            lists.has_countries,
        )
        self._lists = lists

    def _watch(self, kind: str, number: int, value: Value | None) -> None:
        """Have the lane forget what an object's change may change."""
        if kind == "link":
            code = str(value["code"]).lower() if value and "code" in value else None
            self._core.forget(number, code)
        elif kind != "key":
            self._core.forget_all()
            self._are_domains_told = self._are_domains_told and kind != "domain"


def _parts(pieces: Pieces, link: Link, program: Program) -> list[tuple[str, str | None]]:
    """Texts, each with the token of the visit behind it; other tokens are filled in."""
    of_link = {
        "partner_id": ids.object_text("prt", link.partner),
        "program": program.code,
        "link_id": ids.object_text("lnk", link.number),
    }
    found: list[tuple[str, str | None]] = []
    text = ""
    for index, piece in enumerate(pieces):
        if index % 2 == 0:
            text += piece
        elif piece in _OF_VISITS:
            found.append((text, piece))
            text = ""
        else:
            text += quote(of_link[piece], safe="") if piece in of_link else f"{{{piece}}}"
    return [*found, (text, None)]


def _forwarded(program: Program, target: Target) -> list[tuple[str, str]]:
    return [
        (name, quote_from_bytes(name.encode(), "")) for name in forwarded_names(program, target)
    ]
