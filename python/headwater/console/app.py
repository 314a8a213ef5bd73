"""One console process: its parts put together, started, and ended in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

from headwater import _core, ids, limits
from headwater.config import Config
from headwater.console.bot_list import BotLists
from headwater.console.context import Console, Identity
from headwater.console.keys import ensure_admin_key
from headwater.console.lookups import Lookups
from headwater.console.publisher import Publisher
from headwater.console.routes import ROUTES
from headwater.console.server import ConsoleServer
from headwater.ledger.engine import Ledger, open_ledger
from headwater.ledger.ownership import ensure_partitions

log = logging.getLogger(__name__)


async def run_console(config: Config, ready: Callable[[], None]) -> None:
    """Serve the management API until cancelled; then finish requests and leave.

    `ready` is called once the console listens and the admin key is written. Redis may be down:
    changes are then saved and answered 503 `not_published`. Raises OSError, LedgerError.
    """
    ledger = await asyncio.to_thread(_prepare, config)
    try:
        async with serving(config, ledger) as port:
            log.info(
                "console_listens", extra={"fields": {"host": config.console_host, "port": port}}
            )
            ready()
            await asyncio.get_running_loop().create_future()
    finally:
        ledger.close()


def _prepare(config: Config) -> Ledger:
    ledger = open_ledger(config.effective_ledger_url)
    try:
        ensure_partitions(ledger, config.partitions)
        ensure_admin_key(config.data, ledger)
    except BaseException:
        ledger.close()
        raise
    return ledger


@contextlib.asynccontextmanager
async def serving(
    config: Config,
    ledger: Ledger,
    *,
    read_wait_ms: int = limits.READ_WAIT_MS,
    publish_wait_ms: int = limits.PUBLISH_WAIT_MS,
) -> AsyncIterator[int]:
    """The console on a ledger that is ready, inside the block; gives the port it listens on."""
    url = config.effective_redis_url
    publisher = Publisher(ledger, url, ids.producer_id(), _core.encode_frame, Identity(config.data))
    bots = BotLists(ledger, config.lists_bots)
    lookups = Lookups(ledger, url)
    console = Console(config, ledger, publisher, read_wait_ms, publish_wait_ms)
    server = ConsoleServer(console, ROUTES)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(publisher.close)
        await publisher.start()
        stack.push_async_callback(bots.close)
        await bots.start()
        stack.push_async_callback(lookups.close)
        await lookups.start()
        listening = await asyncio.get_running_loop().create_server(
            server, config.console_host, config.console_port
        )
        stack.callback(server.reports.close)
        stack.push_async_callback(server.shutdown, limits.DRAIN_S)
        stack.callback(server.pre_shutdown)
        stack.callback(listening.close)
        yield listening.sockets[0].getsockname()[1]
