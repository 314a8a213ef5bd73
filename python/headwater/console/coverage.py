"""Routes of reports on how well conversions are caught: by which ways, and by what they match."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgpack

from headwater import clock, limits
from headwater.console.answers import Answer
from headwater.console.bodies import refused
from headwater.console.context import Console, Request
from headwater.console.event_shapes import CoverageQuery
from headwater.console.explain_views import CONVERSION_TYPE, TYPE_NAMES
from headwater.console.fraud_reports import days, own_program_row
from headwater.console.reports import period_ms
from headwater.console.views import View
from headwater.errors import FieldFault
from headwater.ledger import coverage
from headwater.ledger.coverage import Reported, Ways
from headwater.ledger.engine import Ledger
from headwater.ledger.fraud_reports import Span
from headwater.model.browsers import UNKNOWN, family
from headwater.model.records import ConversionBody, Flag, IdentifierType, Trust, decode

_DAYS: Final = 30
_WHOLE_PPM: Final = 1_000_000
_CREDITED: Final = "credited"
_REJECTED: Final = "rejected"
_CLICK_ID: Final = "click_id"
_PROMO_CODE: Final = "promo_code"
# The best first: what a conversion that was reported twice counts under.
_COOKIES: Final = ("http", "third_party", "js", "none", "denied")
_NO_BROWSER: Final = "server"


class CoverageCounts(View):
    """Conversions by who reported them: `pixel_only` a browser alone, by pixel or tag; `s2s_only`
    a server alone, by API or postback; `both` of them.
    """

    conversions: int
    pixel_only: int
    s2s_only: int
    both: int


class CoverageDay(CoverageCounts, kw_only=True):
    day: str


class CoverageReport(View):
    """By the day of acceptance in the program's time zone. Test orders are left out."""

    since: str
    until: str
    timezone: str
    total: CoverageCounts
    rows: list[CoverageDay]


class MatchRate(View):
    """`matched` of `conversions` have a credit; the share in parts per million, null of none."""

    conversions: int
    matched: int
    match_rate_ppm: int | None


class BrowserMatchRate(MatchRate, kw_only=True):
    browser: str


class CookieMatchRate(MatchRate, kw_only=True):
    cookie_origin: str


class BrowserCookieMatchRate(MatchRate, kw_only=True):
    browser: str
    cookie_origin: str


class IdentifierMatches(View):
    """`named`: conversions that named such an identifier; `matched`: those whose credit was found
    by it, the first step from the conversion to the click.
    """

    identifier: str
    named: int
    matched: int


class MatchRateReport(View):
    """Of the conversions of a period that are neither tests nor rejected. `cookie_origin`: `http`,
    the brand's own cookie set by its tracking host; `third_party`, that of a tracking host of
    another site; `js`, the tag's script cookie; `none`, no cookie; `denied`, consent was denied;
    `server`, no browser reported it.
    """

    since: str
    until: str
    total: MatchRate
    browsers: list[BrowserMatchRate]
    cookies: list[CookieMatchRate]
    rows: list[BrowserCookieMatchRate]
    identifiers: list[IdentifierMatches]


# ---- By which ways -------------------------------------------------------------------------


async def report_coverage(console: Console, request: Request) -> Answer:
    query: CoverageQuery = request.query
    since_ms, until_ms = period_ms(query.since, query.until, _DAYS)
    program = await own_program_row(console, request, query.program_id)
    span = Span(program["id"], since_ms, until_ms)
    await _require_bearable(console, span, limits.REPORT_ROWS_MAX)
    timezone: str = program["timezone"]
    found = await console.run(_by_day, console.ledger, span, timezone)
    return Answer(
        CoverageReport(
            since=clock.iso_ms(since_ms),
            until=clock.iso_ms(until_ms),
            timezone=timezone,
            total=CoverageCounts(**_counts([ways for _, ways in found])),
            rows=[CoverageDay(day=day, **_counts([ways])) for day, ways in found],
        )
    )


def _by_day(ledger: Ledger, span: Span, timezone: str) -> list[tuple[str, Ways]]:
    return [
        (day, coverage.ways(ledger, Span(span.program, since_ms, until_ms)))
        for day, since_ms, until_ms in days(span, timezone)
    ]


def _counts(found: Sequence[Ways]) -> dict[str, int]:
    pixel, server, both = (sum(each[place] for each in found) for place in range(len(Ways._fields)))
    return {
        "conversions": pixel + server + both,
        "pixel_only": pixel,
        "s2s_only": server,
        "both": both,
    }


# ---- By what they match --------------------------------------------------------------------


@dataclass(slots=True)
class _Tally:
    all: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Conversions by browser and cookie."""
    matched: Counter[tuple[str, str]] = field(default_factory=Counter)
    named: Counter[str] = field(default_factory=Counter)
    found_by: Counter[str] = field(default_factory=Counter)


async def report_match_rate(console: Console, request: Request) -> Answer:
    query: CoverageQuery = request.query
    since_ms, until_ms = period_ms(query.since, query.until, _DAYS)
    program = await own_program_row(console, request, query.program_id)
    span = Span(program["id"], since_ms, until_ms)
    await _require_bearable(console, span, limits.MATCH_REPORT_ROWS_MAX)
    tally = await console.run(_tally, console.ledger, span)
    keys = sorted(tally.all)
    return Answer(
        MatchRateReport(
            since=clock.iso_ms(since_ms),
            until=clock.iso_ms(until_ms),
            total=MatchRate(**_rate(tally, keys)),
            browsers=[
                BrowserMatchRate(
                    browser=name, **_rate(tally, [key for key in keys if key[0] == name])
                )
                for name in sorted({key[0] for key in keys})
            ],
            cookies=[
                CookieMatchRate(
                    cookie_origin=name, **_rate(tally, [key for key in keys if key[1] == name])
                )
                for name in sorted({key[1] for key in keys})
            ],
            rows=[
                BrowserCookieMatchRate(browser=key[0], cookie_origin=key[1], **_rate(tally, [key]))
                for key in keys
            ],
            identifiers=[
                IdentifierMatches(
                    identifier=name, named=tally.named[name], matched=tally.found_by[name]
                )
                for name in sorted(tally.named.keys() | tally.found_by.keys())
            ],
        )
    )


def _tally(ledger: Ledger, span: Span) -> _Tally:
    tally = _Tally()
    for each in coverage.reported(ledger, span):
        if each.status != _REJECTED:
            _add(tally, each)
    return tally


def _add(tally: _Tally, conversion: Reported) -> None:
    bodies = [(trust, ConversionBody._make(decode(raw).body)) for trust, raw in conversion.reports]
    browsers = [body for trust, body in bodies if trust == Trust.BROWSER]
    servers = [body for trust, body in bodies if trust != Trust.BROWSER]
    key = (_family([*browsers, *servers]), _cookie(browsers))
    tally.all[key] += 1
    for name in {name for _, body in bodies for name in _named(body)}:
        tally.named[name] += 1
    used = _used(msgpack.unpackb(conversion.explain, strict_map_key=False))
    if used is not None:
        tally.matched[key] += 1
        tally.found_by[used] += 1


def _family(bodies: Sequence[ConversionBody]) -> str:
    """Of the visitor's own request where there was one, else as a server told it."""
    found = (family(body.client[1]) for body in bodies)
    return next((name for name in found if name != UNKNOWN), UNKNOWN)


def _cookie(browsers: Sequence[ConversionBody]) -> str:
    if not browsers:
        return _NO_BROWSER
    origins = {
        "denied" if body.flags & Flag.CONSENT_DENIED else body.params.get("cookie_origin", "none")
        for body in browsers
    }
    return next((name for name in _COOKIES if name in origins), "none")


def _named(body: ConversionBody) -> set[str]:
    names = {TYPE_NAMES.get(kind, UNKNOWN) for kind, _ in body.identifiers}
    if body.click_id:
        names.add(_CLICK_ID)
    if body.promo_code:
        names.add(_PROMO_CODE)
    return names


def _used(told: Mapping[str, Any]) -> str | None:
    """The type of the identifier the largest credit was found by; None where there is none."""
    credited = [each for each in told.get("candidates", ()) if each["outcome"] == _CREDITED]
    if not credited:
        return None
    best = max(credited, key=lambda each: int(each.get("share_ppm", 0)))
    if best.get("click_id") is None:
        return _PROMO_CODE
    path = best.get("path", ())
    first = path[0]["from"][0] if path else IdentifierType.CLICK
    return _CLICK_ID if first == CONVERSION_TYPE else TYPE_NAMES.get(first, UNKNOWN)


def _rate(tally: _Tally, keys: Sequence[tuple[str, str]]) -> dict[str, Any]:
    conversions = sum(tally.all[key] for key in keys)
    matched = sum(tally.matched[key] for key in keys)
    rate = matched * _WHOLE_PPM // conversions if conversions else None
    return {"conversions": conversions, "matched": matched, "match_rate_ppm": rate}


async def _require_bearable(console: Console, span: Span, rows_max: int) -> None:
    if not await console.run(coverage.is_within, console.ledger, span, rows_max):
        detail = f"the period has over {rows_max} conversions; ask for a shorter one"
        raise refused([FieldFault("since", "invalid", detail)])
