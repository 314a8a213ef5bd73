"""More visitors than an edge has descriptors for. Row F37 of the table of faults."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from system_tools import System, valkey

DESCRIPTORS = 320
VISITORS = 400
CLICK = b"GET /c/%s HTTP/1.1\r\nHost: x\r\nUser-Agent: Mozilla/5.0 Firefox/140.0\r\n\r\n"


@contextmanager
def few_descriptors() -> Iterator[None]:
    """Of this process, and of those that it starts meanwhile."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def clicked(visitors: list[socket.socket], code: str) -> int:
    """How many of them were redirected."""
    count = 0
    for visitor in visitors:
        with suppress(OSError):
            visitor.sendall(CLICK % code.encode())
    for visitor in visitors:
        with suppress(OSError):
            count += visitor.recv(4096).startswith(b"HTTP/1.1 302")
    return count


def test_f37_with_every_descriptor_taken_each_click_that_is_answered_is_kept(
    tmp_path: Path,
) -> None:
    with valkey(tmp_path) as server, ExitStack() as stack:
        system = System(tmp_path, edges=1, environment={"HEADWATER_REDIS_URL": server.url})
        with few_descriptors():
            stack.enter_context(system)
        code = system.program().codes[0]
        visitors = []
        for number in range(VISITORS):
            # None has as many as one address may have.
            address = (f"127.0.0.{2 + number % 8}", 0)
            visitor = socket.create_connection(
                ("127.0.0.1", system.settings.port), timeout=5, source_address=address
            )
            visitors.append(stack.enter_context(visitor))
        count = clicked(visitors, code)
        assert count >= DESCRIPTORS // 2
        # Now all of it rests on files that the edge has to open.
        server.kill()
        time.sleep(0.5)
        count += clicked(visitors, code)
        server.start()
        system.wait_committed(count)
        assert not system.events("frame not spooled")
