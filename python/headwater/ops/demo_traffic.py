"""The demo's visitors: clicks, identifies, conversions, and the nonsense every tracker receives.

The traffic is a function of the seed, but for the ids that the system gives out. Everything that
was answered is kept in a `Tally`, which the check compares with the ledger.
"""

from __future__ import annotations

import asyncio
import json
import re
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from rich.progress import Progress, TaskID

from headwater import clock
from headwater.ops.http_client import Answer, Connection, get, post

CONNECTIONS = 64
CALM_CONNECTIONS = 12
# A burst follows each calm stretch: this many clicks in all, of which the last part is the burst.
CYCLE_CLICKS = 20_000
CALM_CLICKS = 6_000
TRIES = 50
RETRY_S = 0.1
CONNECT_S = 60.0

BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.5 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/141.0.0.0 Mobile Safari/537.36",
)
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
CRLF = "\r\n"
_CLICK_ID = re.compile(rb"[?&]click_id=(clk_[0-9a-z]{26})")
_COOKIE = re.compile(rb"hw_visitor=([0-9a-z]{26})")


@dataclass(frozen=True)
class Scene:
    """What the demo set up: where to send, and as whom."""

    host: str
    port: int
    program: str
    key: str
    codes: tuple[str, ...]


@dataclass
class Tally:
    """What was sent, and what was answered to it."""

    clicks: list[bytes] = field(default_factory=list)
    """Click ids of answered redirects."""
    identifies: list[str] = field(default_factory=list)
    conversions: dict[str, int] = field(default_factory=dict)
    """Conversion id → reports of it that were answered."""
    pixel_orders: list[str] = field(default_factory=list)
    bad_pixels: int = 0
    unanswered: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    decided: Counter[str] = field(default_factory=Counter)
    latency_ns: dict[str, array[int]] = field(default_factory=dict)

    @property
    def answered(self) -> int:
        return (
            len(self.clicks)
            + len(self.identifies)
            + sum(self.conversions.values())
            + len(self.pixel_orders)
            + self.bad_pixels
        )

    def took(self, kind: str, ns: int) -> None:
        self.latency_ns.setdefault(kind, array("Q")).append(ns)


def _address(random: Random) -> str:
    """The header by which the proxy of the demo names its visitor's address."""
    address = ".".join(str(random.randrange(256)) for _ in range(3))
    return f"X-Forwarded-For: 10.{address}{CRLF}"


class Traffic:
    """Drives `clicks` clicks and what follows from them over a fixed set of connections."""

    def __init__(self, scene: Scene, *, clicks: int, rate: int, seed: int) -> None:
        self._scene = scene
        self._clicks = clicks
        self._rate = rate
        self._seed = seed
        self._begun = 0
        self._finished = 0
        self._orders = 0
        self._next_due_ns = 0
        self._authority = f"{scene.host}:{scene.port}"
        self._bearer = f"Authorization: Bearer {scene.key}\r\n"
        self.tally = Tally()

    async def run(self, progress: Progress, task: TaskID) -> None:
        self._next_due_ns = clock.perf_ns()
        visitors = [asyncio.create_task(self._visitor(n)) for n in range(CONNECTIONS)]
        try:
            while not all(visitor.done() for visitor in visitors):
                await asyncio.wait(visitors, timeout=0.1)
                progress.update(task, completed=self._finished)
        finally:
            for visitor in visitors:
                visitor.cancel()
        await asyncio.gather(*visitors)

    def stop(self) -> None:
        """Begin no further visit; those under way are finished."""
        self._clicks = self._begun

    def _allowed(self) -> int:
        """Connections in use now: few while it is calm, all of them in a burst."""
        return CALM_CONNECTIONS if self._begun % CYCLE_CLICKS < CALM_CLICKS else CONNECTIONS

    async def _visitor(self, number: int) -> None:
        random = Random(self._seed * 1000 + number)
        session = _Session(self._scene)
        while self._begun < self._clicks:
            if number >= self._allowed():
                await asyncio.sleep(0.005)
                continue
            self._begun += 1
            await self._visit(session, random)
            self._finished += 1
        session.close()

    async def _visit(self, session: _Session, random: Random) -> None:
        clicked = await self._click(session, random)
        chance = random.random()
        if chance < 0.02:
            await self._nonsense(session, random)
        if clicked is None:
            return
        click_id, visitor = clicked
        customer = None
        if chance < 0.12 and visitor:
            customer = f"customer-{random.randrange(10**9)}"
            await self._identify(session, visitor, customer)
        if 0.10 < chance < 0.16:
            await self._convert(session, random, click_id, customer)
        elif 0.16 < chance < 0.18:
            await self._pixel(session, random, click_id)

    async def _timed(
        self, kind: str, send: Callable[[], Awaitable[Answer | None]]
    ) -> Answer | None:
        """Send when it is due; the time runs from when it was due, not from when it was sent."""
        start_ns = clock.perf_ns()
        if self._rate:
            due_ns = max(self._next_due_ns, start_ns - 1_000_000_000)
            self._next_due_ns = due_ns + 1_000_000_000 // self._rate
            if due_ns > start_ns:
                await asyncio.sleep((due_ns - start_ns) / 1e9)
            start_ns = due_ns
        answer = await send()
        if answer is None:
            self.tally.unanswered[kind] += 1
        else:
            # A timer may fire a moment early.
            self.tally.took(kind, max(0, clock.perf_ns() - start_ns))
        return answer

    async def _click(self, session: _Session, random: Random) -> tuple[str, str] | None:
        codes = self._scene.codes
        # A few links get most of the clicks.
        code = codes[min(int(random.paretovariate(0.7)) - 1, len(codes) - 1)]
        query = f"?sub1=placement-{random.randrange(50)}"
        chance = random.random()
        if chance < 0.05:
            query += "&u=https%3A%2F%2Fshop.example%2Fshoes%3Fsize%3D42"
        elif chance < 0.06:
            query += "&u=https%3A%2F%2Fevil.example%2F"
        agent = CRAWLER if 0.06 < chance < 0.08 else random.choice(BROWSERS)
        raw = get(
            f"/c/{code}{query}",
            self._authority,
            f"User-Agent: {agent}\r\nAccept-Language: en\r\n"
            f"Referer: https://blog.example/review\r\n{_address(random)}"
            # Some page loads the link as a picture, in its visitors' name.
            f"{'Sec-Fetch-Dest: image' + CRLF if 0.08 < chance < 0.09 else ''}",
        )
        answer = await self._timed("click", lambda: session.once(raw))
        if answer is None:
            return None
        click = _CLICK_ID.search(answer.header(b"location") or b"")
        cookie = _COOKIE.search(answer.header(b"set-cookie") or b"")
        if answer.status != 302 or click is None:
            self.tally.refused[f"click {answer.status}"] += 1
            return None
        self.tally.clicks.append(click[1])
        return click[1].decode(), cookie[1].decode() if cookie else ""

    async def _identify(self, session: _Session, visitor: str, customer: str) -> None:
        body = {"program": self._scene.program, "visitor_id": visitor, "customer_id": customer}
        answer = await self._post(session, "identify", "/v1/identify", body)
        if answer and answer.status == 202:
            self.tally.identifies.append(json.loads(answer.body)["event_id"])

    async def _convert(
        self, session: _Session, random: Random, click_id: str, customer: str | None
    ) -> None:
        self._orders += 1
        body: dict[str, Any] = {
            "program": self._scene.program,
            "event": "sale",
            "order_id": f"order-{self._orders}",
            "amount": f"{random.randrange(500, 20_000) / 100:.2f}",
            "currency": "EUR",
            **({"customer_id": customer} if customer else {"click_id": click_id}),
        }
        if random.random() < 0.1:
            # A customer who came by no partner.
            body.pop("click_id", None)
            body["customer_id"] = f"stranger-{self._orders}"
        await self._report(session, body)
        chance = random.random()
        if chance < 0.08:
            await self._report(session, body)
        elif chance < 0.11:
            await self._report(session, {**body, "amount": "1.00"})

    async def _report(self, session: _Session, body: dict[str, Any]) -> None:
        answer = await self._post(session, "conversion", "/v1/conversions", body)
        if answer is None:
            return
        content = json.loads(answer.body)
        if "conversion_id" not in content:
            self.tally.refused[str(content.get("code"))] += 1
            return
        name = content["conversion_id"]
        self.tally.conversions[name] = self.tally.conversions.get(name, 0) + 1
        if answer.status in (200, 201):
            self.tally.decided[content["status"]] += 1
        elif answer.status == 409:
            self.tally.decided["conflict"] += 1
        else:
            self.tally.decided["undecided in time"] += 1

    async def _pixel(self, session: _Session, random: Random, click_id: str) -> None:
        self._orders += 1
        order = f"pixel-{self._orders}"
        bad = random.random() < 0.2
        amount = "not-a-number" if bad else "25.00"
        raw = get(
            f"/px.gif?program={self._scene.program}&event=sale&order_id={order}"
            f"&amount={amount}&currency=EUR&click_id={click_id}",
            self._authority,
            f"User-Agent: {random.choice(BROWSERS)}\r\n{_address(random)}",
        )
        answer = await self._timed("pixel", lambda: session.once(raw))
        if answer is None:
            return
        if bad:
            self.tally.bad_pixels += 1
        else:
            self.tally.pixel_orders.append(order)

    async def _nonsense(self, session: _Session, random: Random) -> None:
        """What must be refused: each is counted by the code it is refused with."""
        base = {"program": self._scene.program, "event": "sale", "order_id": "n", "amount": "1"}
        choice = random.randrange(6)
        if choice == 0:
            raw = get("/c/no-such-link", self._authority)
            answer = await session.once(raw)
            if answer:
                self.tally.refused[f"unknown link {answer.status}"] += 1
            return
        bodies: dict[int, tuple[bytes, str]] = {
            1: (b'{"program":', self._bearer),
            2: (json.dumps(base).encode(), self._bearer),
            3: (json.dumps({**base, "customer_id": "a@b.example"}).encode(), self._bearer),
            4: (
                json.dumps({**base, "amount": "1.001", "customer_id": "c"}).encode(),
                self._bearer,
            ),
            5: (json.dumps({**base, "customer_id": "c"}).encode(), "Authorization: Bearer no\r\n"),
        }
        body, authorization = bodies[choice]
        answer = await session.once(post("/v1/conversions", self._authority, body, authorization))
        if answer:
            code = json.loads(answer.body)
            faults = code.get("errors") or [code]
            self.tally.refused[str(faults[0].get("code"))] += 1

    async def _post(
        self, session: _Session, kind: str, path: str, body: dict[str, Any]
    ) -> Answer | None:
        """A server's request: sent again while it is answered 503, as a server would."""
        raw = post(path, self._authority, json.dumps(body).encode(), self._bearer)
        for _ in range(TRIES):
            answer = await self._timed(kind, lambda: session.once(raw))
            if answer is None or answer.status != 503:
                return answer
            await asyncio.sleep(RETRY_S)
        return None


class _Session:
    """A visitor's connection, opened again when it was closed."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._connection: Connection | None = None

    async def once(self, raw: bytes) -> Answer | None:
        """The answer; None when the connection ended first: sent, not answered."""
        if self._connection is None or self._connection.closed:
            self._connection = await self._open()
        try:
            return await self._connection.request(raw)
        except OSError:
            self._connection = None
            return None

    async def _open(self) -> Connection:
        """A connection, tried for while nobody listens: nothing is sent by trying."""
        until_s = clock.monotonic_s() + CONNECT_S
        while True:
            try:
                return await Connection.open(self._scene.host, self._scene.port)
            except OSError:
                if clock.monotonic_s() > until_s:
                    raise
                await asyncio.sleep(RETRY_S)

    def close(self) -> None:
        if self._connection:
            self._connection.close()
