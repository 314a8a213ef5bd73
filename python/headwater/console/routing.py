"""From a request's target to its route: exact templates, each segment decoded once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from headwater.console.answers import JSON, Answer
from headwater.console.context import Console, Request
from headwater.console.fields import Body
from headwater.errors import RequestRefused

Handler = Callable[[Console, Request], Awaitable[Answer]]

_SEGMENT_CHARACTERS_MAX: Final = 300


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path. `{name}` stands for one segment.

    `answers` maps each status of success to the type of its body (None: text, of one of
    `content_types`); `refusals` are the codes this route adds to those every route may answer.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    answers: dict[int, Any]
    body: type[Body] | None = None
    is_body_required: bool = True
    query: type[Body] | None = None
    refusals: tuple[int, ...] = ()
    is_open: bool = False
    """No key is asked for."""
    for_partners: bool = False
    """A partner's key of scope `read` is taken too; the handler looks whose it is."""
    scopes: tuple[str, ...] = ()
    """Keys of one of these scopes are taken too, and reach what they are bound to."""
    is_keyed: bool = False
    """A repeat under the same Idempotency-Key is answered as the first, and does nothing more."""
    content_types: tuple[str, ...] = (JSON,)

    @property
    def is_report(self) -> bool:
        """Whether many rows may be read for one answer."""
        return self.path.startswith(("/v1/reports/", "/v1/exports/"))

    @property
    def parameters(self) -> list[str]:
        """Names of the path's parameters."""
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]


@dataclass(slots=True)
class _Node:
    """One segment deep in the tree of templates."""

    exact: dict[str, _Node] = field(default_factory=dict)
    any: _Node | None = None
    routes: dict[str, Route] = field(default_factory=dict)


class Router:
    """Finds the route of a method and a raw path. An exact segment goes before a parameter."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._root = _Node()
        for route in routes:
            node = self._root
            for part in route.path.strip("/").split("/"):
                if part.startswith("{"):
                    node.any = node.any or _Node()
                    node = node.any
                else:
                    node = node.exact.setdefault(part, _Node())
            node.routes[route.method] = route

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route, and its path parameters. HEAD finds what GET finds.

        Raises RequestRefused: not_found, or method_not_allowed with the methods there are.
        """
        node = self._root
        values: list[str] = []
        for part in _segments(path):
            if part in node.exact:
                node = node.exact[part]
            elif node.any is not None and part:
                node = node.any
                values.append(part)
            else:
                raise RequestRefused("not_found")
        if not node.routes:
            raise RequestRefused("not_found")
        route = node.routes.get("GET" if method == "HEAD" else method)
        if route is None:
            allowed = sorted({*node.routes, *(["HEAD"] if "GET" in node.routes else [])})
            raise RequestRefused("method_not_allowed", headers={"Allow": ", ".join(allowed)})
        return route, dict(zip(route.parameters, values, strict=True))


def _segments(path: str) -> list[str]:
    if not path.startswith("/"):
        raise RequestRefused("not_found")
    found = []
    for raw in path[1:].split("/"):
        try:
            part = unquote_to_bytes(raw).decode("utf-8")
        except UnicodeDecodeError:
            raise RequestRefused("not_found") from None
        if len(part) > _SEGMENT_CHARACTERS_MAX or not part.isprintable():
            raise RequestRefused("not_found")
        found.append(part)
    return found
