"""The redirect as one would first write it: a bare aiohttp handler, with or without an XADD.

python -m bench.peers.aiohttp_app PORT [REDIS_SOCKET]
"""

from __future__ import annotations

import sys
from typing import Any

import redis.asyncio
import uvloop
from aiohttp import web

LANDING = "https://shop.example/landing?click_id="
ID = "clk_00000000000000000000000000"
HEADERS = ("X-Forwarded-For", "User-Agent", "Referer", "Cookie")


async def bare(_request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": LANDING + ID})


class Recording:
    """One XADD for each click; the answer waits for it."""

    def __init__(self, socket: str) -> None:
        self._redis = redis.asyncio.Redis(
            unix_socket_path=socket, max_connections=256, decode_responses=True
        )

    async def __call__(self, request: web.Request) -> web.Response:
        fields: dict[Any, Any] = {name: request.headers.get(name, "") for name in HEADERS}
        fields["path"] = request.raw_path
        found = await self._redis.xadd("clicks", fields)
        return web.Response(status=302, headers={"Location": LANDING + str(found)})


def main() -> None:
    port, *sockets = sys.argv[1:]
    app = web.Application()
    app.router.add_get("/c/{code}", Recording(sockets[0]) if sockets else bare)
    web.run_app(
        app,
        host="127.0.0.1",
        port=int(port),
        access_log=None,
        print=lambda _text: None,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main()
