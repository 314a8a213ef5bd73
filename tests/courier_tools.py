"""A partner's server that does as it is told, on real sockets, and a ledger with firings."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import ipaddress
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import sqlalchemy as sa

from headwater import ids
from headwater.courier.egress import Egress
from headwater.courier.service import Courier
from headwater.ledger.engine import Ledger
from headwater.ledger.schema import firing_attempts, firings, pixel_endpoints
from headwater.model.outbound import Rules

LOOPBACK = Rules(http=True, allow=(ipaddress.ip_network("127.0.0.0/8"),))
KEY = bytes(range(32))


class Partner:
    """Answers each connection with `reply`, bytes or what to do; keeps the heads it was sent."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.replies: list[bytes | str] = []
        self.port = 0
        self._held: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._held.append(writer)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            return
        self.heads.append(head.decode())
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        await self._answer(writer, reply)

    async def _answer(self, writer: asyncio.StreamWriter, reply: bytes | str) -> None:
        try:
            if reply == "reset":
                writer.transport.abort()
                return
            if reply == "slow head":
                for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 1000:
                    writer.write(bytes([byte]))
                    await asyncio.sleep(0.05)
            elif reply == "slow body":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                for _ in range(1000):
                    writer.write(b"a")
                    await asyncio.sleep(0.05)
            elif reply == "huge body":
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                for _ in range(10_000):
                    writer.write(b"10000\r\n" + b"a" * 65_536 + b"\r\n")
                    await writer.drain()
            elif reply == "huge head":
                writer.write(b"HTTP/1.1 200 OK\r\nX-Big: " + b"a" * 100_000 + b"\r\n\r\n")
            elif reply == "silent":
                await asyncio.sleep(60)
            elif isinstance(reply, bytes):
                writer.write(reply)
                await writer.drain()
            writer.close()
        except ConnectionError:
            writer.close()

    @property
    def targets(self) -> list[str]:
        return [head.split(" ")[1] for head in self.heads]

    def field(self, name: str, at: int = -1) -> str | None:
        """A header field of a request."""
        for line in self.heads[at].split("\r\n")[1:]:
            key, _, value = line.partition(": ")
            if key.lower() == name.lower():
                return value
        return None


class Receiver:
    """A partner's server in threads of its own, that takes what it is sent and notes it."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        """Event ids."""
        self.targets: list[str] = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                receiver.targets.append(self.path)
                receiver.seen.append(self.headers["webhook-id"])
                with contextlib.suppress(OSError):
                    self.send_response(200)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, *_parts: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            # Every request in progress may be a connection of its own.
            request_queue_size = 256

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def status(code: int, body: str = "", **headers: str) -> bytes:
    """A whole answer."""
    fields = {"Content-Length": str(len(body)), "Connection": "close"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {code} Said", *(f"{name}: {value}" for name, value in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


@asynccontextmanager
async def partner(*replies: bytes | str) -> AsyncIterator[Partner]:
    """A server on loopback that gives the replies in turn, the last for ever."""
    found = Partner()
    found.replies = list(replies)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        for writer in found._held:
            writer.transport.abort()
        tasks = [task for task in asyncio.all_tasks() if "Partner.serve" in repr(task.get_coro())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def egress(rules: Rules = LOOPBACK, **options: object) -> AsyncIterator[Egress]:
    made = Egress(rules, **options)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        await made.close()


def add_firing(
    ledger: Ledger, url: str, *, pixel: int = 1, partner: int = 1, at_ms: int = 0, due_ms: int = 0
) -> bytes:
    """A firing that is due; its event id."""
    event_id = ids.event_id(at_ms)
    with ledger.write() as connection:
        connection.execute(
            sa.insert(firings).values(
                event_id=event_id,
                brand=1,
                program=1,
                partner=partner,
                pixel=pixel,
                action_id=event_id,
                conversion_id=event_id,
                type="postback",
                url=url,
                is_test=False,
                at_ms=at_ms,
                state="waiting",
                due_ms=due_ms,
                attempts=0,
                attempts_before=0,
                code=None,
            )
        )
    return event_id


def rows(ledger: Ledger, table: sa.Table) -> list[dict[str, object]]:
    with ledger.read() as connection:
        found = connection.execute(sa.select(table).order_by(*table.primary_key.columns))
        return [dict(row) for row in found.mappings()]


def firing(ledger: Ledger, event_id: bytes) -> dict[str, object]:
    return next(row for row in rows(ledger, firings) if row["event_id"] == event_id)


def attempts(ledger: Ledger) -> list[dict[str, object]]:
    return rows(ledger, firing_attempts)


def endpoint(ledger: Ledger, pixel: int = 1) -> dict[str, object]:
    return next(row for row in rows(ledger, pixel_endpoints) if row["pixel"] == pixel)


async def delivered(courier: Courier, ledger: Ledger, events: Sequence[bytes]) -> None:
    """Turn the courier until each of the firings was attempted once at least."""
    for _ in range(2000):
        await courier.turn()
        if all(firing(ledger, event)["attempts"] for event in events):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not attempted")
