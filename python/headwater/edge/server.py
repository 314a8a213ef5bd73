"""One edge process: its parts put together, started, and ended in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from functools import partial

from headwater import _core, identity_key, ids, limits
from headwater.config import Config
from headwater.edge.context import Edge
from headwater.edge.health import LedgerWatch
from headwater.edge.hot import HotProtocol
from headwater.edge.hot_links import HotLinks
from headwater.edge.hot_listener import HotListener
from headwater.edge.links import LinkTable
from headwater.edge.lists import Lists
from headwater.edge.memory import Memory
from headwater.edge.network import Networks
from headwater.edge.protocol import (
    CountedConnections,
    Deadlines,
    EdgeProtocol,
    EdgeServer,
    connections_max,
)
from headwater.edge.routes import make_handler
from headwater.journal.config_feed import ConfigFeed
from headwater.journal.daily_keys import DailyKeys
from headwater.journal.decisions import DecisionHub
from headwater.journal.writer import JournalWriter

log = logging.getLogger(__name__)


class Listener:
    """The public listener of an edge. `port` is the one it got."""

    def __init__(self, edge: Edge, deadlines: Deadlines | None = None) -> None:
        self._edge = edge
        deadlines = deadlines or Deadlines()
        links = HotLinks(edge) if edge.config.hot_lane else None
        self._links = links
        self._hot = HotListener(links, deadlines, connections_max()) if links else None
        self._http = EdgeServer(
            make_handler(edge),
            refused=lambda code: edge.meters.refused("connection", code),
            connections=(
                self._hot.connections
                if self._hot
                else CountedConnections(edge.proxies.trusts, connections_max())
            ),
            deadlines=deadlines,
            protocol=partial(HotProtocol, hot=links) if links else EdgeProtocol,
        )
        self._listening: asyncio.Server | None = None
        self._flush: asyncio.TimerHandle | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen on the configured address. Raises OSError."""
        config = self._edge.config
        if self._hot is not None:
            self.port = await self._hot.start(self._http, config.host, config.port)
        else:
            self._listening = await asyncio.get_running_loop().create_server(
                self._http,
                config.host,
                config.port,
                reuse_port=True,
                backlog=limits.LISTEN_BACKLOG,
            )
            self.port = self._listening.sockets[0].getsockname()[1]
        self._flush_meters()

    async def close(self) -> None:
        """Take no more connections, finish what is in progress, close the rest."""
        self._edge.draining = True
        if self._listening is not None:
            self._listening.close()
        if self._hot is not None:
            await self._hot.close(limits.DRAIN_S)
        self._http.pre_shutdown()
        await self._http.shutdown(limits.DRAIN_S)
        if self._flush is not None:
            self._flush.cancel()
        if self._links is not None:
            self._links.close()
        self._edge.meters.flush()

    def _flush_meters(self) -> None:
        self._edge.meters.flush()
        self._flush = asyncio.get_running_loop().call_later(
            limits.METERS_FLUSH_S, self._flush_meters
        )


async def run_edge(
    config: Config, ready: Callable[[], None], gate: Callable[[], bool] = lambda: True
) -> None:
    """Serve until cancelled, then drain: finish requests, make every record safe, leave.

    `ready` is called once the edge listens; `/readyz` answers 503 until `gate` is true. Redis and
    the ledger may be down at the start: links are then those of the local file. Raises
    ConfigError, OSError.
    """
    async with _parts(config, gate) as edge:
        listener = Listener(edge)
        await listener.start()
        fields = {"host": config.host, "port": listener.port}
        log.info("edge listens", extra={"fields": fields})
        try:
            ready()
            await asyncio.get_running_loop().create_future()
        finally:
            log.info("edge drains", extra={"fields": fields})
            await listener.close()


@contextlib.asynccontextmanager
async def _parts(config: Config, gate: Callable[[], bool]) -> AsyncIterator[Edge]:
    """The edge with its journal, its feed and its hub running."""
    data = config.data
    url = config.effective_redis_url
    producer = ids.producer_id()
    table = LinkTable()
    writer = JournalWriter(
        url=url,
        root=data / "spool",
        producer=producer,
        encode_frame=_core.encode_frame,
        spool_bytes_max=config.spool_bytes_max,
        spool_age_max_ms=config.spool_age_max_ms,
    )
    hub = DecisionHub(url, producer)
    feed = ConfigFeed(url, data / "edge" / "config.bin", table.apply)
    memory = Memory(url)
    lists = Lists(config.lists)
    keys = DailyKeys(url)
    edge = Edge(
        config=config,
        table=table,
        writer=writer,
        hub=hub,
        feed=feed,
        memory=memory,
        ledger=LedgerWatch(data / "run"),
        identity_key=identity_key.load_or_create(data),
        gate=gate,
        networks=Networks(lists, keys),
    )
    async with contextlib.AsyncExitStack() as stack:
        # Ended last to first: nothing may be recorded any more when the journal closes.
        stack.push_async_callback(writer.close, limits.DRAIN_S)
        await writer.start()
        stack.push_async_callback(hub.close)
        await hub.start()
        stack.push_async_callback(memory.close)
        stack.push_async_callback(keys.close)
        await keys.start()
        await asyncio.get_running_loop().run_in_executor(None, lists.load)
        following = asyncio.create_task(lists.follow())
        stack.callback(following.cancel)
        stack.push_async_callback(feed.close)
        await feed.start()
        await feed.settled(limits.CONFIG_WAIT_MS / 1000)
        yield edge
