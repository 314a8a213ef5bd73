"""What an edge knows: links, programs, keys, as the configuration feed told them.

All of it is held in memory and looked up by dictionary; an object that cannot be read is logged
and left out, so that one bad row never takes the rest down.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from headwater import ids, limits
from headwater.edge import cookies, link_options
from headwater.edge.link_options import LinkOptions, ProgramOptions
from headwater.edge.origins import Origins, read_origins
from headwater.model import aliases
from headwater.model.records import Flag

log = logging.getLogger(__name__)

Value = dict[str, Any]

_CODE = re.compile(rf"[A-Za-z0-9_-]{{1,{limits.LINK_CODE_CHARACTERS_MAX}}}", re.ASCII)
_PARAMETER = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)
ACTIVE = "active"
EXTERNAL = "ext:"
"""Begins an external id where an id may stand."""
# The least time a visitor cookie lives: a click's window may be a day, the visitor's longer.
_COOKIE_AGE_S_MIN = 86_400


class Brand(NamedTuple):
    number: int
    partition: int
    active: bool


class Program(NamedTuple):
    """A program as requests need it; texts are lower case where they are compared so."""

    number: int
    brand: int
    code: str
    active: bool
    site: str
    """Registrable domain of the destination."""
    http: bool
    """The destination itself is plain http, so a deep link may be."""
    hosts: frozenset[str]
    suffixes: tuple[str, ...]
    click_param: str
    window_s: int
    currency: str
    denied: bool
    """Consent counts as denied when nothing is said."""
    forward: tuple[str, ...]
    default_country: str | None
    methods: frozenset[str] | None
    """Tracking methods switched on; None: all."""
    aliases: dict[str, str]
    """What senders may call a field, in lower case, to the field's name."""
    options: ProgramOptions
    origins: Origins
    """Pages that may report events by the tag."""


class EventType(NamedTuple):
    number: int
    program: int
    code: str
    kind: str
    active: bool
    window_s: int
    """A click window of its own; 0: the program's."""


class Link(NamedTuple):
    """A link; `url` is its destination, utm parameters and tokens not filled in."""

    number: int
    program: int
    partner: int
    code: str
    domain: str | None
    """The tracking domain's host; None: every host that is none."""
    url: str
    options: LinkOptions
    expires_ms: int | None
    active: bool
    flags: int
    """Bits of Flag that every click of the link carries."""
    external_id: str | None = None


class Domain(NamedTuple):
    number: int
    host: str
    brand: int


class Key(NamedTuple):
    number: int
    digest: bytes
    scopes: frozenset[str]
    brand: int | None
    partner: int | None


def well_formed_code(code: str) -> bool:
    """Whether a raw path segment may be a link's code."""
    return _CODE.fullmatch(code) is not None


class LinkTable:
    """The configuration of this deployment, by number and by what requests name."""

    def __init__(self) -> None:
        self.brands: dict[int, Brand] = {}
        self.programs: dict[int, Program] = {}
        self.enrolments: dict[tuple[int, int], bool] = {}
        self.partners: dict[int, bool] = {}
        self.links: dict[int, Link] = {}
        self._cookie_ages_s: dict[int, int] = {}
        self._origins: Origins | None = None
        self._event_types: dict[int, EventType] = {}
        self._domains: dict[int, Domain] = {}
        self._keys: dict[int, Key] = {}
        self._enrolment_keys: dict[int, tuple[int, int]] = {}
        self._programs_by_code: dict[str, Program] = {}
        self._event_types_by_code: dict[tuple[int, str], EventType] = {}
        self._links_by_code: dict[tuple[str | None, str], Link] = {}
        self._domains_by_host: dict[str, Domain] = {}
        self._keys_by_digest: dict[bytes, Key] = {}
        self._partners_by_external: dict[str, int] = {}
        self._external_partners: dict[int, str] = {}
        self._links_by_external: dict[tuple[int, str], Link] = {}
        self.watch: Callable[[str, int, Value | None], None] = pass_over
        """Told of each object before it changes, with its new value."""
        self._apply: dict[str, Callable[[int, Value | None], None]] = {
            "brand": self._brand,
            "program": self._program,
            "event_type": self._event_type,
            "partner": self._partner,
            "enrolment": self._enrolment,
            "link": self._link,
            "domain": self._domain,
            "key": self._key,
        }

    def apply(self, kind: str, number: int, value: Value | None) -> None:
        """Take an object's new value, None when it is gone. Unknown kinds are passed over."""
        store = self._apply.get(kind)
        if store is None:
            return
        self.watch(kind, number, value)
        try:
            store(number, value)
        except (KeyError, TypeError, ValueError) as error:
            log.error(
                "configuration object unreadable",
                extra={"fields": {"kind": kind, "number": number, "error": type(error).__name__}},
            )
            store(number, None)

    # ---- Look-ups ------------------------------------------------------------------------

    def link(self, host: str, code: str) -> Link | None:
        """The link a code (any case) names on a host.

        A tracking domain serves its own links, then those without a domain of the same brand;
        every other host serves the links without a domain.
        """
        code = code.lower()
        domain = self._domains_by_host.get(host) if self._domains_by_host else None
        if domain is None:
            return self._links_by_code.get((None, code))
        found = self._links_by_code.get((host, code))
        if found is None:
            found = self._links_by_code.get((None, code))
            program = self.programs.get(found.program) if found else None
            if program is None or program.brand != domain.brand:
                return None
        return found

    def cookie_age_s(self, program: Program) -> int:
        """How long a visitor is known after a click: the longest window of the program and of its
        event types.
        """
        age_s = self._cookie_ages_s.get(program.number)
        if age_s is None:
            longest_s = max(
                program.window_s,
                *(
                    each.window_s
                    for each in self._event_types.values()
                    if each.program == program.number
                ),
                _COOKIE_AGE_S_MIN,
            )
            age_s = min(longest_s, limits.COOKIE_AGE_S_MAX)
            self._cookie_ages_s[program.number] = age_s
        return age_s

    def any_allows(self, origin: str) -> bool:
        """Whether pages of this origin may report events to some program."""
        if self._origins is None:
            self._origins = Origins.of_all(each.origins for each in self.programs.values())
        return self._origins.allow(origin)

    def is_domain(self, host: str) -> bool:
        return host in self._domains_by_host

    @property
    def domain_hosts(self) -> list[str]:
        return list(self._domains_by_host)

    @property
    def has_domains(self) -> bool:
        return bool(self._domains_by_host)

    def program(self, code: str) -> Program | None:
        return self._programs_by_code.get(code)

    def event_type(self, program: int, code: str) -> EventType | None:
        return self._event_types_by_code.get((program, code))

    def sale_event(self, program: int) -> EventType | None:
        """The program's first event type of the kind sale."""
        found = (each for each in self._event_types.values() if each.program == program)
        sales = (each for each in found if each.kind == "sale" and each.active)
        return min(sales, key=lambda each: each.number, default=None)

    def key(self, digest: bytes) -> Key | None:
        """The key with this SHA-256."""
        return self._keys_by_digest.get(digest)

    def program_active(self, program: Program) -> bool:
        brand = self.brands.get(program.brand)
        return program.active and brand is not None and brand.active

    def partner_active(self, program: int, partner: int) -> bool:
        """Whether the partner may bring clicks to the program now."""
        return self.enrolments.get((program, partner), False) and self.partners.get(partner, True)

    def partner_number(self, text: str) -> int | None:
        """The partner a text names, by its id or as `ext:` and its external id."""
        if text.startswith(EXTERNAL):
            return self._partners_by_external.get(text.removeprefix(EXTERNAL))
        try:
            return ids.parse_object("prt", text)
        except ValueError:
            return None

    def named_link(self, program: int, text: str) -> Link | None:
        """The link a server names in one of a program's events: by its id, as `ext:` and its
        external id, or by its code.
        """
        if text.startswith(EXTERNAL):
            return self._links_by_external.get((program, text.removeprefix(EXTERNAL)))
        try:
            return self.links.get(ids.parse_object("lnk", text))
        except ValueError:
            return self.link("", text)

    def partition(self, brand: int) -> int:
        """The brand's lane of the log; 0 for brand 0, to which unplaceable reports go."""
        found = self.brands.get(brand)
        return found.partition if found else 0

    # ---- Objects -------------------------------------------------------------------------

    def _brand(self, number: int, value: Value | None) -> None:
        if value is None:
            self.brands.pop(number, None)
        else:
            self.brands[number] = Brand(number, int(value["partition"]), _is_active(value))

    def _program(self, number: int, value: Value | None) -> None:
        _forget(self._programs_by_code, self.programs.pop(number, None), lambda old: old.code)
        if value is not None:
            program = _read_program(number, value)
            self.programs[number] = program
            self._programs_by_code[program.code] = program
        self._cookie_ages_s.clear()
        self._origins = None

    def _event_type(self, number: int, value: Value | None) -> None:
        _forget(
            self._event_types_by_code,
            self._event_types.pop(number, None),
            lambda old: (old.program, old.code),
        )
        if value is not None:
            found = EventType(
                number,
                int(value["program"]),
                str(value["code"]),
                str(value.get("kind", "custom")),
                _is_active(value),
                int(value.get("click_window_seconds") or 0),
            )
            self._event_types[number] = found
            self._event_types_by_code[found.program, found.code] = found
        self._cookie_ages_s.clear()

    def _partner(self, number: int, value: Value | None) -> None:
        before = self._external_partners.pop(number, None)
        if before is not None and self._partners_by_external.get(before) == number:
            del self._partners_by_external[before]
        if value is None:
            self.partners.pop(number, None)
            return
        self.partners[number] = _is_active(value)
        external = value.get("external_id")
        if external:
            self._external_partners[number] = str(external)
            self._partners_by_external[str(external)] = number

    def _enrolment(self, number: int, value: Value | None) -> None:
        old = self._enrolment_keys.pop(number, None)
        if old is not None:
            self.enrolments.pop(old, None)
        if value is not None:
            pair = (int(value["program"]), int(value["partner"]))
            self._enrolment_keys[number] = pair
            self.enrolments[pair] = _is_active(value)

    def _link(self, number: int, value: Value | None) -> None:
        old = self.links.pop(number, None)
        _forget(self._links_by_code, old, lambda old: (old.domain, old.code))
        _forget(self._links_by_external, old, lambda old: (old.program, old.external_id))
        if value is not None:
            found = _read_link(number, value)
            self.links[number] = found
            self._links_by_code[found.domain, found.code] = found
            if found.external_id:
                self._links_by_external[found.program, found.external_id] = found

    def _domain(self, number: int, value: Value | None) -> None:
        _forget(self._domains_by_host, self._domains.pop(number, None), lambda old: old.host)
        if value is not None:
            found = Domain(number, str(value["host"]).lower(), int(value["brand"]))
            self._domains[number] = found
            self._domains_by_host[found.host] = found

    def _key(self, number: int, value: Value | None) -> None:
        _forget(self._keys_by_digest, self._keys.pop(number, None), lambda old: old.digest)
        if value is not None:
            found = Key(
                number,
                bytes.fromhex(value["sha256"]),
                frozenset(value["scopes"]),
                value.get("brand"),
                value.get("partner"),
            )
            self._keys[number] = found
            self._keys_by_digest[found.digest] = found


def pass_over(_kind: str, _number: int, _value: Value | None) -> None:
    """Nobody watches."""


def _is_active(value: Value) -> bool:
    return bool(value.get("status", ACTIVE) == ACTIVE)


def _forget(index: dict[Any, Any], old: Any, name_of: Callable[[Any], Any]) -> None:
    """Drop `old` from an index, unless its name belongs to another object by now."""
    if old is None:
        return
    name = name_of(old)
    held = index.get(name)
    if held is not None and held.number == old.number:
        del index[name]


def _read_program(number: int, value: Value) -> Program:
    destination = urlsplit(str(value["destination_url"]))
    click_param = str(value.get("click_param") or "click_id")
    if not _PARAMETER.fullmatch(click_param):
        raise ValueError("the click parameter is no name")
    entries = [str(entry).lower() for entry in value.get("deep_link_hosts") or ()]
    return Program(
        number=number,
        brand=int(value["brand"]),
        code=str(value["code"]),
        active=_is_active(value),
        site=cookies.site(destination.hostname or ""),
        http=destination.scheme.lower() == "http",
        hosts=frozenset(entry for entry in entries if not entry.startswith("*.")),
        suffixes=tuple(entry[1:] for entry in entries if entry.startswith("*.")),
        click_param=click_param,
        window_s=int(value.get("click_window_seconds") or 0),
        currency=str(value["currency"]),
        denied=value.get("consent_default") == "denied",
        forward=tuple(str(name) for name in value.get("forward_params") or ()),
        default_country=value.get("default_country") or None,
        methods=_read_methods(value.get("methods")),
        aliases=aliases.merged(value.get("alias_presets") or (), value.get("aliases") or {}),
        options=link_options.of_program(value),
        origins=read_origins(value, destination),
    )


def _read_methods(value: Any) -> frozenset[str] | None:
    if value is None:
        return None
    if isinstance(value, dict):
        return frozenset(name for name, on in value.items() if on)
    return frozenset(str(name) for name in value)


def _read_link(number: int, value: Value) -> Link:
    url = str(value["url"])
    link_options.require_emittable(url)
    domain = value.get("domain")
    return Link(
        number=number,
        program=int(value["program"]),
        partner=int(value["partner"]),
        code=str(value["code"]).lower(),
        domain=str(domain).lower() if domain else None,
        url=url,
        options=link_options.of_link(value),
        expires_ms=value.get("expires_ms"),
        active=_is_active(value),
        flags=int(Flag.HONEYPOT) if value.get("honeypot") else 0,
        external_id=value.get("external_id") or None,
    )
