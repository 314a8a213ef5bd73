"""The requests that every server is sent: clicks as browsers make them behind a proxy.

Half of the visitors come again and bring their cookie. The proxy's word of an address and the id in
the cookie are drawn anew for each request by the generator: the audience is large, and who clicks
twice within seconds would be scored as what that mostly is. Heads are about 600 bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Literal

from headwater import clock, ids
from headwater.ops.demo_traffic import BROWSERS

Mode = Literal["keep-alive", "close"]

ADDRESS = "10.100.100.100"
COOKIE = b"hw_visitor="
RETURNING = 0.5
COOKIE_DAYS = 400
_LANGUAGES = ("en-GB,en;q=0.9", "de-DE,de;q=0.9,en;q=0.8", "fr-FR,fr;q=0.9", "es-ES,es;q=0.8")
_SITES = ("blog.example/review", "deals.example/today", "news.example/article/4711?page=2")


def heads(codes: Sequence[str], host: str, mode: Mode, number: int, seed: int) -> Iterator[bytes]:
    """So many different requests, over all the links in turn."""
    random = Random(seed)
    until_day = clock.now_ms() // 86_400_000 + COOKIE_DAYS
    for at in range(number):
        cookies = f"_ga=GA1.1.{random.randrange(10**9)}.{random.randrange(10**9)}"
        if random.random() < RETURNING:
            cookies += f"; hw_visitor={ids.encode(random.randbytes(16))}.{until_day}"
        yield (
            f"GET /c/{codes[at % len(codes)]}?sub1=placement-{random.randrange(400)}"
            f"&sub2=creative-{random.randrange(40)} HTTP/1.1\r\n"
            f"Host: {host}\r\n"
            f"X-Forwarded-For: {ADDRESS}\r\nX-Forwarded-Proto: https\r\n"
            f"User-Agent: {BROWSERS[random.randrange(len(BROWSERS))]}\r\n"
            "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
            f"Accept-Language: {random.choice(_LANGUAGES)}\r\n"
            "Accept-Encoding: gzip, deflate, br\r\n"
            f"Referer: https://{random.choice(_SITES)}\r\n"
            "Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n"
            "Sec-Fetch-Site: cross-site\r\nSec-Fetch-User: ?1\r\n"
            f"Cookie: {cookies}\r\nConnection: {mode}\r\n\r\n"
        ).encode()


def write(path: Path, requests: Iterator[bytes]) -> Path:
    """The file that the generator reads: length, places of address and visitor, bytes."""
    with path.open("wb") as file:
        for request in requests:
            at = max(request.find(ADDRESS.encode()), 0)
            cookie = request.find(COOKIE)
            visitor = cookie + len(COOKIE) if cookie >= 0 else 0
            file.write(struct.pack("<HHH", len(request), at, visitor) + request)
    return path
