"""The private listener: aiohttp's parser and request loop, dispatching by the table of routes.

Every error is a problem document and none repeats bytes of the request, those of aiohttp's own
parser included.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import hdrs, http_parser, web
from aiohttp.web_protocol import RequestHandler

from headwater import ids, limits, metrics
from headwater.console import bodies
from headwater.console.answers import Answer, problem
from headwater.console.context import Console, Request
from headwater.console.keys import Key, require_key, secret_of
from headwater.console.report_turns import ReportTurns
from headwater.console.routing import Route, Router
from headwater.errors import ConfigError, LedgerError, RequestRefused
from headwater.ledger.audit import acting_as

log = logging.getLogger(__name__)

_VERSIONS = ((1, 0), (1, 1))
_UNKNOWN = "unknown"


class ConsoleProtocol(RequestHandler):
    """One connection; it is dropped when a request's head does not come in time."""

    __slots__ = ("_head_timer",)

    def __init__(self, manager: web.Server, **arguments: Any) -> None:
        super().__init__(manager, **arguments)
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._messages:
            self._stop_timer()
        elif self._head_timer is None and not self._request_in_progress and data:
            self._expect_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._head_timer = self._loop.call_later(limits.HEAD_DEADLINE_S, self.force_close)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it holds bytes of the request
    ) -> web.StreamResponse:
        """A problem document for what the parser failed on; closes the connection."""
        if status >= 500:
            log.error("request_failed", extra={"fields": {"error": type(exc).__name__}})
        response = problem(
            RequestRefused("malformed_request" if status < 500 else "internal_error")
        )
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """aiohttp's own messages may hold bytes of the request."""
        log.debug("connection_failed")


class ConsoleServer(web.Server):
    """The protocol factory of the console's listener."""

    def __init__(self, console: Console, routes: Sequence[Route]) -> None:
        if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
            raise ConfigError(["aiohttp runs without its C parser; install its binary wheel"])
        super().__init__(self._respond)
        self._console = console
        self._router = Router(routes)
        self.reports = ReportTurns(console)

    def __call__(self) -> RequestHandler:
        return ConsoleProtocol(
            self,
            loop=self._loop,
            keepalive_timeout=limits.KEEP_ALIVE_S,
            access_log=None,
            max_line_size=limits.LINE_BYTES_MAX,
            max_field_size=limits.HEADER_BYTES_MAX,
            max_headers=limits.HEADERS_MAX,
            lingering_time=limits.LINGER_S,
            auto_decompress=False,
            logger=log,
        )

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; what goes wrong becomes a problem document."""
        route: Route | None = None
        try:
            if tuple(request.version) not in _VERSIONS:
                raise RequestRefused("http_version")
            target, _, query = request.raw_path.partition("#")[0].partition("?")
            route, path, key = await self._admit(request, target)
            return (await self._handle(request, route, path, query, key)).response()
        except RequestRefused as refusal:
            return self._refused(request, route, refusal)
        except LedgerError as error:
            log.error("ledger_failed", extra={"fields": {"error": str(error)}})
            down = RequestRefused("ledger_unavailable", headers={"Retry-After": "1"})
            return self._refused(request, route, down)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("request_failed", extra={"fields": {"route": _name(route)}})
            return self._refused(request, route, RequestRefused("internal_error"))

    async def _admit(
        self, request: web.BaseRequest, target: str
    ) -> tuple[Route, dict[str, str], Key | None]:
        """The route, its path, and the caller's key. Who has no admin key is told neither what
        there is nor what there is not.
        """
        route: Route | None = None
        path: dict[str, str] = {}
        none_found = RequestRefused("not_found")
        try:
            route, path = self._router.find(request.method, target)
        except RequestRefused as refusal:
            none_found = refusal
        key: Key | None = None
        if route is None or not route.is_open:
            key = await self._console.run(
                require_key,
                self._console.ledger,
                secret_of(request),
                for_partners=route is not None and route.for_partners,
                scopes=() if route is None else route.scopes,
            )
        if route is None:
            raise none_found
        return route, path, key

    async def _handle(
        self,
        request: web.BaseRequest,
        route: Route,
        path: dict[str, str],
        query: str,
        key: Key | None,
    ) -> Answer:
        asked: msgspec.Struct | None = None
        body: msgspec.Struct | None = None
        warnings: list[str] = []
        if route.query is not None:
            asked, _ = bodies.decode(route.query, bodies.query(query), strict=False)
        if route.body is not None:
            raw = await bodies.read(request)
            if not raw and route.is_body_required:
                raise RequestRefused("malformed_body", "A JSON object is needed.")
            body, warnings = bodies.decode(route.body, bodies.parse(raw) if raw else {})
        checked = Request(
            path=path,
            query=asked,
            body=body,
            warnings=warnings,
            key=key,
            target=request.path,
            idempotency_key=bodies.idempotency_key(request) if route.is_keyed else None,
        )
        if key is None:
            return await route.handler(self._console, checked)
        with acting_as(ids.object_text("key", key["id"])):
            if route.is_report:
                is_read = request.method != hdrs.METH_HEAD
                return await self.reports.answer(route.handler, checked, is_read=is_read)
            return await route.handler(self._console, checked)

    def _refused(
        self, request: web.BaseRequest, route: Route | None, refusal: RequestRefused
    ) -> web.Response:
        metrics.REQUESTS_REFUSED.labels(_name(route), refusal.code).inc()
        response = problem(refusal)
        if request.can_read_body:
            # The rest of a body nobody read must not be taken for the next request.
            response.headers[hdrs.CONNECTION] = "close"
            response.force_close()
        return response


def _name(route: Route | None) -> str:
    return f"console {route.method} {route.path}" if route else f"console {_UNKNOWN}"
