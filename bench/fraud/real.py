"""Real traffic as a background: an access log, or a click log in TalkingData's layout.

What is in it is not known to be honest, so its flagged share is an upper bound of false alarms.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from bench.fraud.events import LEAD, Event, Maker, Visit
from bench.fraud.world import Background

from headwater.edge.address import place
from headwater.model.records import Client
from headwater.ops import evaluate_clicks, evaluate_log
from headwater.ops.evaluate_bots import BotList
from headwater.ops.evaluate_feed import network, number_of
from headwater.ops.evaluate_read import Faults, lines

_PARTNERS = 8


def _requests(path: Path) -> Iterator[evaluate_log.Request]:
    for line in lines(path, Faults()):
        try:
            yield evaluate_log.parse(line.text)
        except ValueError:
            continue


def access_log(path: Path, bots: BotList) -> Background:
    """Page requests of an access log as clicks, without those of bots that say what they are."""
    agents = evaluate_log.judged_agents(_requests(path), bots)
    people = (
        request
        for request in _requests(path)
        if evaluate_log.is_click(request) and not agents[request.agent].is_any
    )
    maker = Maker(1)
    visits = []
    for asked in people:
        known = network(asked.address, asked.at_ms)
        at = place(asked.address)
        client = Client(at.prefix if at else None, asked.agent, asked.referrer, known, None)
        partner = 1 + zlib.crc32(asked.address.encode()) % _PARTNERS
        link = 1 + zlib.crc32(asked.path.encode("utf-8", "replace"))
        event = maker.click(asked.at_ms, client, (), partner=partner, link=link, sub="log")
        visits.append(Visit(asked.at_ms, event, client, (), asked.address, partner, link, "log"))
    return _background(path, maker.events, visits, {})


def click_log(path: Path) -> Background:
    """Clicks and conversions of a click log."""
    maker = Maker(1)
    visits = []
    converted: dict[int, int] = {}
    for row in _rows(path):
        address = f"{row.ip >> 16 & 255}.{row.ip >> 8 & 255}.{row.ip & 255}.1"
        agent = evaluate_clicks.agent(row.device, row.os)
        client = Client(None, agent, None, network(address, row.click_ms), None)
        partner, link, sub = row.app + 1, row.app + 1, str(row.channel)
        event = maker.click(row.click_ms, client, (), partner=partner, link=link, sub=sub)
        visits.append(Visit(row.click_ms, event, client, (), address, partner, link, sub))
        if row.attributed_ms is not None:
            maker.conversion(row.attributed_ms, (), click_id=event, kind=LEAD)
            converted[maker.events[-1].number] = number_of(event)
    return _background(path, maker.events, visits, converted)


def _rows(path: Path) -> Iterator[evaluate_clicks.Row]:
    for line in lines(path, Faults()):
        try:
            yield evaluate_clicks.parse(line.text)
        except ValueError:
            continue


def _background(
    path: Path, events: Iterable[Event], visits: list[Visit], converted: dict[int, int]
) -> Background:
    ordered = sorted(events)
    partners = max((visit.partner for visit in visits), default=1)
    return Background(
        path.name,
        ordered[0].at_ms,
        ordered[-1].at_ms,
        partners,
        len(visits),
        ordered,
        sorted(visits),
        converted,
    )
