"""Records as the log carries them, field by field in wire order.

The format is defined in rust/engine/src/record; a test holds these tuples to it. Every class is
a tuple, so `msgpack.packb(record)` writes the wire form.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final, NamedTuple

import msgpack

from headwater import _core

NUMBER_MAX: Final = 2**63 - 1
"""The largest number of an object, and the largest whole number that the ledger keeps."""


class Kind(IntEnum):
    CLICK = 1
    PAGE_VIEW = 2
    IDENTIFY = 3
    CONVERSION = 4
    CONTROL = 5
    DECISION = 6
    ERASURE = 7
    TICK = 8


class Trust(IntEnum):
    """Who vouches for a record: a holder of a key, or whoever runs a browser."""

    SERVER = 1
    BROWSER = 2


class Source(IntEnum):
    LINK = 1
    PIXEL = 2
    TAG = 3
    S2S = 4
    POSTBACK = 5
    CONSOLE = 6
    CLOCK = 7


class IdentifierType(IntEnum):
    """By strength: the first ties a visitor most surely."""

    CUSTOMER = 1
    PROFILE = 2
    EMAIL = 3
    PHONE = 4
    DEVICE = 5
    CLICK = 6
    EXTERNAL_CLICK = 7
    VISITOR = 8


class Flag(IntFlag):
    TEST = 1
    CONSENT_DENIED = 2
    DEEP_LINK_REFUSED = 4
    QR = 8
    PREFETCH = 16
    SOFT_CLICK = 32
    """A touch the visitor did not choose: a pop-up, a redirect without a choice."""
    IMPRESSION = 64
    AD_CLICK_ID = 128
    """The visit's own query carried an advertiser's click id (`gclid`, `msclkid` and the like)."""
    HONEYPOT = 256
    """The link is a honeypot: nobody who sees the page can follow it."""
    NEW_VISITOR = 512
    """The visitor id was made for this request: the browser returned none."""
    DISPOSABLE_EMAIL = 1024
    """The e-mail address of the report is one of a disposable mail service."""
    EMAIL_LOOKED_UP = 2048
    """A list of disposable mail services was there to look in, and an address to look up."""
    LINK_TAMPERED = 4096
    """The program's links are signed, and this click's parameters are not, or not any more."""


class NetworkFlag(IntFlag):
    """What the address lists hold of an address; the upper half: which lists there were."""

    DATACENTRE_STRICT = 1
    DATACENTRE_BROAD = 2
    VPN = 4
    TOR = 8
    CRAWLER_VERIFIED = 16
    CRAWLER_FAKE = 32
    STRICT_LOADED = 256
    BROAD_LOADED = 512
    VPN_LOADED = 1024
    TOR_LOADED = 2048
    CRAWLERS_LOADED = 4096
    COUNTRY_LOADED = 8192


# A click's record stands for every kind of touch; its flags say which.
CLICK: Final = "click"
TOUCH_FLAGS: Final = {
    CLICK: 0,
    "soft_click": int(Flag.SOFT_CLICK),
    "impression": int(Flag.IMPRESSION),
}


def touch_type(flags: int) -> str:
    """`click`, `soft_click` or `impression`, by the flags of a click's record."""
    if flags & Flag.IMPRESSION:
        return "impression"
    return "soft_click" if flags & Flag.SOFT_CLICK else CLICK


TypeAndDigest = tuple[int, bytes]
Identifiers = tuple[TypeAndDigest, ...]


class Network(NamedTuple):
    """What the edge knows of an address; the address itself stays there."""

    address: bytes | None
    """Digest, 8 bytes, of the address (IPv6: of its /64) under the key of the day."""
    address_before: bytes | None
    """The same under the key of the day before."""
    flags: int
    """Bits of NetworkFlag."""
    country: str | None
    lists: str | None
    """Version of the address lists in force."""


class Request(NamedTuple):
    """What the edge keeps of a browser's request: header fields, each cut to a size."""

    http_version: int
    """10, 11 or 20; 0 when not known."""
    is_secure: bool
    fetch_dest: str | None
    fetch_mode: str | None
    fetch_site: str | None
    fetch_user: str | None
    purpose: str | None
    accept: str | None
    accept_language: str | None
    agent_brands: str | None
    agent_mobile: str | None
    agent_platform: str | None


class Client(NamedTuple):
    """What is kept of the caller: address cut to /24 or /48, user agent, referrer, and what
    fraud scoring needs of the address and the request."""

    address_prefix: str | None
    user_agent: str | None
    referrer: str | None
    network: Network | None = None
    request: Request | None = None


NO_CLIENT = Client(None, None, None)


class Money(NamedTuple):
    """Amounts in minor units of `currency`."""

    amount_minor: int
    currency: str
    discount_minor: int | None
    tax_minor: int | None
    shipping_minor: int | None


class Item(NamedTuple):
    sku: str | None
    name: str | None
    category: str | None
    quantity: int
    subtotal_minor: int | None


class ClickBody(NamedTuple):
    program: int
    partner: int
    link: int
    """0: the click names no link."""
    flags: int
    identifiers: Identifiers
    params: dict[str, str]
    client: Client


class PageViewBody(NamedTuple):
    program: int
    url: str | None
    flags: int
    identifiers: Identifiers
    client: Client


class IdentifyBody(NamedTuple):
    program: int
    flags: int
    identifiers: Identifiers
    client: Client


class ConversionBody(NamedTuple):
    conversion_id: bytes
    program: int
    event_type: int
    order_id: str | None
    line: str
    flags: int
    click_id: bytes | None
    identifiers: Identifiers
    money: Money
    promo_code: str | None
    customer_status: str | None
    items: tuple[Item, ...]
    params: dict[str, str]
    client: Client
    refused: str | None
    """A reason code: the report is kept as a rejection and decides nothing."""
    started_ms: int | None = None
    """When the customer began what ended in it: a checkout, a form."""


class ControlBody(NamedTuple):
    """An object of the configuration as of `revision`; the highest revision wins."""

    kind: str
    number: int
    revision: int
    value: dict[str, object] | None
    """None: the object is deleted."""


NO_SUBJECT: Final = bytes(16)
"""The subject of a decision that is about no one event."""


class DecisionBody(NamedTuple):
    action: str
    subject: bytes
    """Id of the event, action or conversion it is about; NO_SUBJECT: its params say."""
    params: dict[str, str]


class ErasureBody(NamedTuple):
    scope: str
    """`identifier` or `person`."""
    dry_run: bool
    """Nothing is forgotten; the answer says what would be."""
    force: bool
    """Also what is joined to another customer."""
    identifiers: Identifiers


class Record(NamedTuple):
    """The head every record has, and the body of its kind."""

    kind: int
    event_id: bytes
    brand: int
    accept_ms: int
    claim_ms: int | None
    """The caller's time of the event, None when it made no claim."""
    trust: int
    source: int
    body: tuple[object, ...]


BODIES: dict[Kind, type[tuple[object, ...]]] = {
    Kind.CLICK: ClickBody,
    Kind.PAGE_VIEW: PageViewBody,
    Kind.IDENTIFY: IdentifyBody,
    Kind.CONVERSION: ConversionBody,
    Kind.CONTROL: ControlBody,
    Kind.DECISION: DecisionBody,
    Kind.ERASURE: ErasureBody,
}

_pack = msgpack.Packer(use_bin_type=True, autoreset=True).pack


def encode(record: Record) -> bytes:
    """The wire form of one record."""
    packed: bytes = _pack(record)
    return packed


def is_well_formed(raw: bytes) -> bool:
    """Whether the engine reads this record: a frame with another in it is not taken."""
    try:
        _core.validate_record(raw)
    except _core.FrameError:
        return False
    return True


def decode(raw: bytes) -> Record:
    """A record from its wire form; nested tuples come back as lists."""
    fields = msgpack.unpackb(raw, strict_map_key=False)
    body = fields[7]
    shape = BODIES.get(Kind(fields[0]))
    return Record._make([*fields[:7], shape(*body) if shape else tuple(body)])
