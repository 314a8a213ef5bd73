"""`headwater replay`: a web server's access log, sent as clicks of a program.

Lines go in their order, in batches over one connection, each with the visitor's address, user
agent and referrer, and its own time if asked for. Visits are shared out over the program's
partners in turn, so that an address always comes by the same one.
"""

from __future__ import annotations

import http.client
import json
import re
import urllib.parse
import zlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from headwater import clock
from headwater.config import Config
from headwater.errors import HeadwaterError
from headwater.ops.client import ConsoleClient

BATCH = 500
TIMEOUT_S = 30.0
TRIES = 30
COMBINED = re.compile(
    r'(?P<address>\S+) \S+ \S+ \[(?P<time>[^\]]+)\] "(?P<request>(?:[^"\\]|\\.)*)" '
    r'(?P<status>\d{3}) \S+(?: "(?P<referrer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)")?'
)


def parse_combined(line: str) -> dict[str, Any] | None:
    """A click from one line of Apache's or nginx' combined format; None when it is not one."""
    match = COMBINED.match(line)
    if match is None:
        return None
    try:
        at = datetime.strptime(match["time"], "%d/%b/%Y:%H:%M:%S %z")
    except ValueError:
        return None
    click: dict[str, Any] = {
        "ip": match["address"],
        "occurred_at": clock.iso_ms(int(at.timestamp() * 1000)),
    }
    if match["agent"] not in (None, "-"):
        click["user_agent"] = match["agent"]
    if match["referrer"] not in (None, "-"):
        click["referrer"] = match["referrer"]
    return click


def run_replay(
    settings: Config, file: Path, *, program: str, url: str | None, keep_time: bool
) -> int:
    """Send the file; 0 when every line that could be read was accepted."""
    console = ConsoleClient.of(settings)
    found = console.program(program)
    partners = _partners(console, found["id"])
    key = console.post("/v1/keys", {"scopes": ["events"], "brand_id": found["brand_id"]})
    edge = urllib.parse.urlsplit(url or f"http://{settings.host}:{settings.port}")
    sender = _Sender(edge.hostname or settings.host, edge.port or 80, key["key"])
    unreadable = 0
    screen = Console(stderr=True)
    try:
        lines = file.read_text("utf-8", errors="replace").splitlines()
    except OSError as error:
        raise HeadwaterError(f"{file}: {error.strerror}") from error
    batch: list[dict[str, Any]] = []
    with Progress(console=screen) as progress:
        task = progress.add_task("replaying", total=len(lines))
        for line in lines:
            click = parse_combined(line)
            if click is None:
                unreadable += 1
                progress.advance(task)
                continue
            if not keep_time:
                del click["occurred_at"]
            partner = partners[zlib.crc32(click["ip"].encode()) % len(partners)]
            batch.append({"type": "click", "program": program, "partner": partner, **click})
            if len(batch) == BATCH:
                sender.send(batch)
                progress.advance(task, len(batch))
                batch = []
        if batch:
            sender.send(batch)
            progress.advance(task, len(batch))
    Console().print(
        f"{len(lines)} lines: {sender.accepted} accepted, "
        f"{sum(sender.refused.values())} refused {sender.refused or ''}, {unreadable} unreadable",
        markup=False,
        highlight=False,
    )
    console.delete(f"/v1/keys/{key['id']}")
    return 0 if not sender.refused else 1


def _partners(console: ConsoleClient, program_id: str) -> list[str]:
    """Ids of the partners enrolled; one is made and enrolled when there are none."""
    enrolled = [
        item["partner_id"]
        for item in _pages(console, f"/v1/programs/{program_id}/partners")
        if item["status"] == "active"
    ]
    if enrolled:
        return enrolled
    partner = console.post(
        "/v1/partners",
        {"name": "Replay", "email": "replay@partners.example", "external_id": "replay"},
    )
    console.put(f"/v1/programs/{program_id}/partners/{partner['id']}", {})
    return [partner["id"]]


def _pages(console: ConsoleClient, path: str) -> Iterator[dict[str, Any]]:
    cursor = ""
    while True:
        page = console.get(f"{path}?limit=500{cursor}")
        yield from page["items"]
        if not page.get("next_cursor"):
            return
        cursor = f"&cursor={page['next_cursor']}"


class _Sender:
    """Batches over one connection; a batch that is not answered is sent again under its key."""

    def __init__(self, host: str, port: int, key: str) -> None:
        self._host, self._port, self._key = host, port, key
        self.accepted = 0
        self.refused: dict[str, int] = {}

    def send(self, batch: list[dict[str, Any]]) -> None:
        for result in self._answer(json.dumps(batch).encode()):
            if result["status"] < 300:
                self.accepted += 1
            else:
                code = str(result.get("code"))
                self.refused[code] = self.refused.get(code, 0) + 1

    def _answer(self, body: bytes) -> list[dict[str, Any]]:
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        for _ in range(TRIES):
            connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
            try:
                connection.request("POST", "/v1/events", body, headers)
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException) as error:
                raise HeadwaterError(
                    f"the edge at {self._host}:{self._port} does not answer: {error}"
                ) from error
            finally:
                connection.close()
            if answer.status == 503:
                clock.sleep(1.0)
                continue
            if answer.status != 207:
                raise HeadwaterError(f"POST /v1/events: {answer.status} {content[:300]!r}")
            results: list[dict[str, Any]] = json.loads(content)
            return results
        raise HeadwaterError("the edge does not accept events")
