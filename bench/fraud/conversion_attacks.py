"""The attacks of which conversions are the prize, and the list of all twelve."""

from __future__ import annotations

from typing import Final, NamedTuple

from bench.fraud.attacks import (
    NEW,
    Attack,
    Stage,
    botnet,
    duration,
    flood,
    iframe_stuffing,
    image_click,
    metronome,
    prefetch_storm,
    replay,
    spread_over,
)
from bench.fraud.browsers import Browser, draw, request
from bench.fraud.events import (
    CHECKOUT,
    DAY_MS,
    HOUR_MS,
    LEAD,
    caller,
    email,
    visitor,
)

from headwater.ops.evaluate_feed import event_id

_CHANCE_BUYERS: Final = 0.0005
"""The rate below which Adjust calls a source almost certainly click spam."""


def click_injection(stage: Stage, count: int, pace: float) -> None:
    """Malware sees that a purchase has begun, and clicks for the visitor before it is done."""
    random = stage.random
    for number, victim in enumerate(stage.victims(count)):
        known = visitor(f"buyer {number}")
        browser = draw(random)
        started_ms = victim.at_ms + random.randrange(HOUR_MS)
        clicked_ms = started_ms + int(random.uniform(8_000, 40_000) / pace)
        done_ms = clicked_ms + int(random.uniform(15_000, 90_000))
        asked = request(random, browser)
        client = caller(victim.address, clicked_ms, browser.agent, None, asked)
        link = 10 * stage.partner + 1
        click = stage.maker.click(
            *(clicked_ms, client, known),
            partner=stage.partner,
            link=link,
            sub="injected",
            flags=NEW,
        )
        reported = caller(victim.address, done_ms, browser.agent)
        stage.maker.conversion(
            *(done_ms, known), click_id=click, client=reported, started_ms=started_ms
        )
        stage.judge()


def flat_flooding(stage: Stage, count: int, pace: float) -> None:
    """Clicks in the name of people who never saw them, of whom a few would have bought anyway."""
    random = stage.random
    known = stage.background
    # From early on: such clicks are made for days.
    span_ms = (known.end_ms - known.begin_ms) * 8 // 10
    begin_ms = known.begin_ms + HOUR_MS
    sources = max(round(pace), 1)
    for number in range(count):
        at_ms = begin_ms + span_ms * number // count
        victim = random.choice(known.visits)
        browser = draw(random)
        client = caller(victim.address, at_ms, browser.agent, None, request(random, browser))
        who = visitor(f"flooded {number}")
        sub = f"flood {number % sources}"
        link = 10 * stage.partner + number % 6
        stage.maker.click(
            *(at_ms, client, who),
            partner=stage.partner,
            link=link,
            sub=sub,
            flags=NEW,
        )
        stage.judge()
        # Some buy by chance, at any time after: that is why the times come out flat.
        if random.random() < _CHANCE_BUYERS:
            done_ms = at_ms + random.randrange(10 * 60_000, max(known.end_ms - at_ms, 1_200_000))
            reported = caller(victim.address, done_ms, browser.agent)
            started_ms = done_ms - random.randrange(20_000, 300_000)
            stage.maker.conversion(done_ms, who, client=reported, started_ms=started_ms)
            stage.steal()


def coupon_hijack(stage: Stage, count: int, pace: float) -> None:
    """A voucher site's extension clicks when the customer has opened the checkout."""
    random = stage.random
    for number, victim in enumerate(stage.victims(count)):
        who = visitor(f"shopper {number}")
        browser = draw(random)
        first_ms = victim.at_ms + random.randrange(HOUR_MS)
        stage.maker.page_view(first_ms, "/basket", who)
        started_ms = first_ms + random.randrange(20_000, 120_000)
        stage.maker.page_view(started_ms, CHECKOUT, who)
        clicked_ms = started_ms + int(random.uniform(5_000, 120_000) * pace)
        client = caller(victim.address, clicked_ms, browser.agent, None, request(random, browser))
        click = stage.maker.click(
            *(clicked_ms, client, who),
            partner=stage.partner,
            link=10 * stage.partner,
            sub="voucher",
        )
        done_ms = clicked_ms + random.randrange(20_000, 200_000)
        reported = caller(victim.address, done_ms, browser.agent)
        # A shop that does not tell when the checkout began: the page view alone gives it away.
        stage.maker.conversion(done_ms, who, click_id=click, client=reported)
        stage.judge()


def forged_postback(stage: Stage, count: int, pace: float) -> None:
    """Conversions reported with click ids that were never given out."""
    random = stage.random
    span_ms = min(int(DAY_MS / 2 * pace), stage.longest_ms)
    begin_ms = stage.begin_ms(span_ms)
    for number in range(count):
        at_ms = begin_ms + random.randrange(span_ms)
        forged = event_id(at_ms - random.randrange(HOUR_MS), random.getrandbits(79))
        stage.maker.conversion(at_ms, visitor(f"nobody {number}"), click_id=forged)
        stage.judge()


def lead_farm(stage: Stage, count: int, pace: float) -> None:
    """A few people with a few phones who fill in forms all day."""
    random = stage.random
    phones = max(count // 60, 2)
    gap_ms = 8 * 60_000 * pace
    fitting = max(int(stage.longest_ms / 2 / gap_ms), 4)
    for phone in range(phones):
        browser = draw(random)
        address = f"103.9.{phone // 5 >> 8 & 255}.{phone // 5 & 255}"
        made = min(-(-count // phones), fitting)
        at_ms = stage.begin_ms(int(made * gap_ms))
        for number in range(made):
            at_ms += int(gap_ms * random.uniform(0.5, 1.5))
            _lead(stage, at_ms, _Form(phone, number, browser, address))


class _Form(NamedTuple):
    """One form filled in."""

    phone: int
    number: int
    browser: Browser
    address: str


def _lead(stage: Stage, at_ms: int, form: _Form) -> None:
    random = stage.random
    phone, number, browser, address = form
    # Cookies are kept for a few forms, then thrown away.
    who = visitor(f"phone {phone} {number // 3}")
    client = caller(address, at_ms, browser.agent, None, request(random, browser))
    flags = NEW if number % 3 == 0 else 0
    link = 10 * stage.partner + number % 6
    click = stage.maker.click(
        *(at_ms, client, who),
        partner=stage.partner,
        link=link,
        sub="farm",
        flags=flags,
    )
    done_ms = at_ms + random.randrange(30_000, 200_000)
    # A list of addresses that is used again, and throw-away ones beside it.
    name = f"mail {phone} {random.randrange(40)}"
    stage.maker.conversion(
        *(done_ms, who + email(name)),
        click_id=click,
        kind=LEAD,
        client=caller(address, done_ms, browser.agent),
        is_disposable=random.random() < 0.4,
        started_ms=done_ms - random.randrange(8_000, 20_000),
    )
    stage.judge()


ATTACKS: Final = (
    Attack(
        *("single-address flood", flood, "one address, one browser, no cookies"),
        lambda pace: f"{300 / pace:.3g} clicks an hour",
    ),
    Attack(
        *("rotating botnet", botnet, "four clicks an address, one old browser"),
        spread_over(4),
    ),
    Attack(
        *("metronome", metronome, "a machine clicks by a timer"),
        lambda pace: f"every {duration(60 * pace)}",
    ),
    Attack(
        *("replay", replay, "true clicks sent again, all alike"),
        lambda pace: f"0.2 s to {duration(8 * pace)} later",
    ),
    Attack(
        *("prefetch storm", prefetch_storm, "links fetched ahead and never followed"),
        spread_over(12),
    ),
    Attack("iframe stuffing", iframe_stuffing, "links in invisible frames", spread_over(12)),
    Attack("image click", image_click, "links as sources of images", spread_over(12)),
    Attack("click injection", click_injection, "a click after the purchase began"),
    Attack(
        *("flat flooding", flat_flooding, "clicks in the name of people who never clicked"),
        lambda pace: f"over {max(round(pace), 1)} sub ids",
    ),
    Attack(
        *("coupon hijack", coupon_hijack, "a click when the checkout is open"),
        lambda pace: f"up to {duration(120 * pace)} into the checkout",
    ),
    Attack("forged postback", forged_postback, "reports with invented click ids"),
    Attack(
        *("lead farm", lead_farm, "a few phones that fill in forms"),
        lambda pace: f"a form a phone each {duration(480 * pace)}",
    ),
)
