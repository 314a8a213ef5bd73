"""A brand's site on loopback and a real browser in front of it and of a whole system.

Names end in `.test` and lead to this machine: `shop.test` is the brand's site, `go.shop.test` its
own tracking host, `track.test` a tracking host of another site.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import socket
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headwater.ops.snippet import run_snippet
from system_tools import System, wait_for

CHROMIUM = Path("/usr/bin/chromium")
OWN, OTHER = "go.shop.test", "track.test"
# What each page tells a test: faults of the page, violations of its policy, order of events.
WATCH = """
window.faults = []; window.told = []; window.order = [];
addEventListener('error', e => faults.push(String(e.message)));
addEventListener('unhandledrejection', e => faults.push(String(e.reason)));
addEventListener('securitypolicyviolation', e => faults.push(e.violatedDirective));
addEventListener('load', () => order.push('load'));
"""


@dataclass
class Page:
    """A page of the site: its HTML, and headers beside the type."""

    html: str
    headers: dict[str, str] = field(default_factory=dict)


class Site:
    """The brand's site. `/hw/...` is its own path to the tracking host, as a proxy would make."""

    def __init__(self, tracking_port: int) -> None:
        self.pages: dict[str, Page] = {}
        self.asked: list[str] = []
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.asked.append(self.path)
                if self.path.startswith("/hw/"):
                    return self._forward(b"")
                page = site.pages.get(self.path.partition("?")[0])
                found = page or Page("<!doctype html><title>empty</title>")
                body = found.html.encode()
                self.send_response(200 if page else 404)
                headers = {"Content-Type": "text/html; charset=utf-8", **found.headers}
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
                return None

            def do_POST(self) -> None:
                site.asked.append(self.path)
                self._forward(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

            def _forward(self, body: bytes) -> None:
                connection = http.client.HTTPConnection("127.0.0.1", tracking_port, timeout=60)
                headers = dict(self.headers.items())
                connection.request(self.command, self.path.removeprefix("/hw"), body, headers)
                answer = connection.getresponse()
                content = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("connection", "date", "server"):
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
                connection.close()

            def log_message(self, *_parts: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_port
        self.address = f"http://shop.test:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Brand:
    """A program of its own for one test, and what its pages paste."""

    system: System
    site: Site
    code: str
    key: str
    link: str
    partner: str

    def snippet(self, host: str = OWN, kind: str = "tag", base: str = "") -> str:
        """What `headwater snippet` prints, for a tracking host that the browser knows."""
        text = run_snippet(self.system.settings, program=self.code, kind=kind)
        own = f"http://127.0.0.1:{self.system.settings.port}"
        return text.replace(own, base or self.address(host))

    def address(self, host: str = OWN) -> str:
        return f"http://{host}:{self.system.settings.port}"

    def head(self, host: str = OWN, base: str = "") -> str:
        """The part of the snippet for every page."""
        text = self.snippet(host, base=base)
        return text[: text.index("<!-- The confirmation page")]

    def page(self, path: str, body: str = "", *, head: str | None = None, **headers: str) -> str:
        """Put a page on the site, with the tag on it; its address."""
        inside = self.head() if head is None else head
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        html = f"<!doctype html><title>shop</title>{inside}<body>{body}"
        self.site.pages[path] = Page(html, named)
        return self.site.address + path

    @staticmethod
    def script(text: str) -> Page:
        """A script file of the site."""
        return Page(text, {"Content-Type": "text/javascript"})

    def clicked(self, host: str = OWN) -> str:
        return f"{self.address(host)}/c/{self.link}"

    def decision(self, order_id: str, event: str = "sale") -> dict[str, Any]:
        """The decision of an order, once there is one."""
        path = f"/v1/conversions?program={self.code}&event={event}&order_id={order_id}"
        return self.system.decided(path, self.key)

    def count(self, table: str) -> int:
        """Rows of the program in a table of the ledger."""
        path = self.system.settings.data / "ledger.sqlite"
        with contextlib.closing(sqlite3.connect(path)) as connection:
            number = connection.execute(
                f"SELECT count(*) FROM {table} WHERE program = "
                "(SELECT id FROM programs WHERE code = ?)",
                (self.code,),
            ).fetchone()[0]
            return int(number)

    def records(self, table: str) -> list[bytes]:
        """The records of the program's rows."""
        path = self.system.settings.data / "ledger.sqlite"
        with contextlib.closing(sqlite3.connect(path)) as connection:
            rows = connection.execute(
                f"SELECT record FROM {table} WHERE program = "
                "(SELECT id FROM programs WHERE code = ?)",
                (self.code,),
            ).fetchall()
            return [row[0] for row in rows]

    def wait_count(self, table: str, number: int) -> None:
        wait_for(lambda: self.count(table) >= number, 60, f"{number} rows of {table}")
        assert self.count(table) == number


def make_brand(system: System, site: Site, code: str, **settings: Any) -> Brand:
    console = system.console
    brand = console.post("/v1/brands", {"name": code})
    program = console.post(
        "/v1/programs",
        {
            "brand_id": brand["id"],
            "code": code,
            "name": code,
            "destination_url": f"{site.address}/landing",
            "currency": "EUR",
            **settings,
        },
    )
    for kind in ("sale", "lead"):
        console.post(f"/v1/programs/{program['id']}/event-types", {"code": kind, "kind": kind})
    partner = console.post("/v1/partners", {"name": code, "email": "p@partners.example"})
    enrolled = console.put(f"/v1/programs/{program['id']}/partners/{partner['id']}", {})
    key = console.post("/v1/keys", {"scopes": ["events"], "brand_id": brand["id"]})["key"]
    system.wait_configured()
    return Brand(system, site, code, key, enrolled["default_link"]["code"], partner["id"])


def convert(event: str = "sale", **fields: Any) -> str:
    """The call of a confirmation page, telling the test what came of it."""
    return (
        f"<script>headwater('trackConversion', '{event}', {json.dumps(fields)}, "
        "{callback: answer => told.push(answer)})</script>"
    )


def answers(page: Any, number: int = 1) -> list[dict[str, Any]]:
    """What the page's conversions were told, once there are so many. Asked for by the debugger:
    a page's policy may forbid what Playwright's own waiting does.
    """
    told: list[dict[str, Any]] = []

    def all_told() -> bool:
        told[:] = page.evaluate("told")
        if len(told) < number:
            page.wait_for_timeout(20)
        return len(told) >= number

    wait_for(all_told, 60, f"{number} answers")
    return told


class Silent:
    """A tracking host that takes connections and never says a word."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._held: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._held.append(self._socket.accept()[0])

    @property
    def taken(self) -> int:
        return len(self._held)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(60)
        for each in (self._socket, *self._held):
            each.close()


@contextlib.contextmanager
def chromium(origin: str) -> Iterator[Any]:
    """A browser for which every name is this machine and `origin` is as good as https."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM),
            args=[
                "--no-sandbox",
                "--host-resolver-rules=MAP *.test 127.0.0.1",
                f"--unsafely-treat-insecure-origin-as-secure={origin}",
                "--test-third-party-cookie-phaseout",
            ],
        )
        try:
            yield browser
        finally:
            browser.close()


def agent_of(browser: Any) -> str:
    """The user agent of this browser with a window: without one it calls itself HeadlessChrome,
    which is declared automation.
    """
    major = browser.version.partition(".")[0]
    return (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
        f"Chrome/{major}.0.0.0 Safari/537.36"
    )
