"""The courier's loop: claim what is due, send it, record what came of it."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from headwater import clock, config, faults, identity_key, ids, limits, metrics
from headwater.courier import schedule
from headwater.courier.egress import Answer, Egress
from headwater.errors import LedgerError
from headwater.ledger import firings
from headwater.ledger.engine import Ledger, open_ledger
from headwater.ledger.firings import Claimed, Due, Exchange, Result
from headwater.model import webhooks
from headwater.model.outbound import Rules, rules_of, target_of
from headwater.model.pixels import masked

log = logging.getLogger(__name__)

_RETRY_S = 1.0


class Courier:
    """Delivers the outbox of one ledger. `key` is the deployment's."""

    def __init__(self, ledger: Ledger, egress: Egress, key: bytes) -> None:
        self._ledger = ledger
        self._egress = egress
        self._key = key
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_flight: Counter[int] = Counter()
        self._of_partner: Counter[int] = Counter()
        self._results: list[Result] = []
        self._after = 0
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled; then what is in flight is finished and recorded."""
        try:
            while True:
                self._wake.clear()
                try:
                    await self.turn()
                except LedgerError as error:
                    log.warning("ledger not usable", extra={"fields": {"why": str(error)[:200]}})
                    await asyncio.sleep(_RETRY_S)
                await asyncio.sleep(limits.COURIER_PAUSE_MS / 1000)
                await self._until_work()
        finally:
            await self.drain()

    async def _until_work(self) -> None:
        if self._results:
            return
        try:
            async with asyncio.timeout(limits.COURIER_POLL_MS / 1000):
                await self._wake.wait()
        except TimeoutError:
            return

    async def turn(self) -> None:
        """Record what came back, claim what is due, and send it on its way."""
        now_ms = clock.now_ms()
        room = limits.DELIVERIES_AT_ONCE_MAX - len(self._tasks)
        due = await asyncio.to_thread(firings.due_pixels, self._ledger, now_ms, self._after)
        # The next turn begins where this one's list ended, so that no pixel is always last.
        self._after = due[-1].pixel if due else 0
        off = [each.pixel for each in due if each.is_off]
        wanted = self._wanted([each for each in due if not each.is_off], room)
        if not self._results and not wanted and not off:
            return
        results, self._results = self._results, []
        try:
            made = await asyncio.to_thread(
                firings.exchange, self._ledger, now_ms, results, wanted, off
            )
        except LedgerError:
            self._results = results + self._results
            raise
        self._say(made)
        for firing in made.claimed:
            self._start(firing)

    def _wanted(self, due: list[Due], room: int) -> dict[int, int]:
        """How many firings of each pixel are claimed: no pixel and no partner takes all."""
        wanted: dict[int, int] = {}
        taken: Counter[int] = Counter()
        for each in due:
            most = (
                1 if each.failures >= limits.BREAKER_FAILURES else limits.DELIVERIES_PER_PIXEL_MAX
            )
            of_partner = self._of_partner[each.partner] + taken[each.partner]
            free = min(
                most - self._in_flight[each.pixel],
                limits.DELIVERIES_PER_PARTNER_MAX - of_partner,
                room,
            )
            if free > 0:
                wanted[each.pixel] = free
                taken[each.partner] += free
                room -= free
        return wanted

    def _say(self, made: Exchange) -> None:
        for each in made.disabled:
            pixel = ids.object_text("pxl", each.pixel)
            metrics.PIXELS_DISABLED.labels(each.code).inc()
            log.warning("pixel disabled", extra={"fields": {"pixel": pixel, "why": each.code}})

    def _start(self, firing: Claimed) -> None:
        self._in_flight[firing.pixel] += 1
        self._of_partner[firing.partner] += 1
        task = asyncio.create_task(self._deliver(firing))
        self._tasks.add(task)
        task.add_done_callback(self._done(firing))

    def _done(self, firing: Claimed) -> Callable[[asyncio.Task[None]], None]:
        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            for counter, name in (
                (self._in_flight, firing.pixel),
                (self._of_partner, firing.partner),
            ):
                counter[name] -= 1
                if not counter[name]:
                    del counter[name]
            self._wake.set()

        return done

    async def _deliver(self, firing: Claimed) -> None:
        now_ms = clock.now_ms()
        started_ns = clock.perf_ns()
        event_id = ids.event_text("evt", firing.event_id)
        secrets = [webhooks.secret(self._key, firing.pixel, salt) for salt in firing.salts]
        # What is signed of a GET is what is asked for: it has no body.
        target = target_of(firing.url, Rules(http=True))
        payload = target.path.encode() if target else b""
        headers = webhooks.headers(secrets, event_id, now_ms // 1000, payload)
        answer = await self._egress.get(firing.url, headers)
        faults.reach("courier.sent")
        latency_ms = (clock.perf_ns() - started_ns) // 1_000_000
        result = result_of(firing, answer, now_ms, latency_ms, ids.jitter(schedule.JITTER_PPM))
        metrics.DELIVERIES.labels(result.code).inc()
        metrics.DELIVERY_SECONDS.observe(latency_ms / 1000)
        self._results.append(result)

    async def drain(self) -> None:
        """Wait for what is in flight, and record it."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._results:
            results, self._results = self._results, []
            await asyncio.to_thread(firings.exchange, self._ledger, clock.now_ms(), results, {})


def result_of(
    firing: Claimed, answer: Answer, at_ms: int, latency_ms: int, jitter_ppm: int
) -> Result:
    """What an answer makes of its firing."""
    outcome, code = schedule.outcome_of(answer)
    due_ms = None
    is_breaker = outcome == schedule.RETRY
    if outcome == schedule.RETRY:
        attempts = firing.attempts - firing.attempts_before + 1
        pause_ms = schedule.pause_ms(attempts, answer.retry_after, at_ms, jitter_ppm)
        if pause_ms is None:
            code = "exhausted"
        elif at_ms + pause_ms - firing.at_ms > limits.FIRING_AGE_MS_MAX:
            code = "too_old"
        else:
            due_ms = at_ms + pause_ms
    return Result(
        firing,
        at_ms,
        masked(firing.url),
        answer.status,
        latency_ms,
        answer.head,
        outcome,
        code,
        due_ms,
        is_breaker,
    )


async def run_courier(settings: config.Config) -> None:
    """The role, until cancelled. Raises LedgerError when the ledger cannot be opened."""
    ledger = open_ledger(settings.effective_ledger_url)
    egress = Egress(rules_of(settings.egress_http, settings.egress_allow))
    try:
        await Courier(ledger, egress, identity_key.load_or_create(settings.data)).run()
    finally:
        await egress.close()
        ledger.close()
