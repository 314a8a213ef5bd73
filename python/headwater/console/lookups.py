"""Answers edges that ask for a decision Redis has forgotten, from the ledger."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import msgpack

from headwater import background, ids, limits
from headwater.errors import HeadwaterError
from headwater.journal import keys
from headwater.journal.resp import RespClient
from headwater.ledger.decisions import decision_by_id
from headwater.ledger.engine import Ledger

log = logging.getLogger(__name__)

_BLOCK_S: Final = 1


class Lookups:
    """Serves the list of questions until closed; reconnects by itself."""

    def __init__(self, ledger: Ledger, url: str) -> None:
        self._ledger = ledger
        self._url = url
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to answer; Redis may be down."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        await background.stop(self._task)
        self._task = None

    async def _run(self) -> None:
        while True:
            client: RespClient | None = None
            try:
                client = await RespClient.connect(
                    self._url, timeout_s=limits.REDIS_CONNECT_MS / 1000
                )
                while True:
                    async with asyncio.timeout(_BLOCK_S + limits.REDIS_HANG_MS / 1000):
                        await self._next(client)
            except (HeadwaterError, TimeoutError) as error:
                log.warning("lookups_wait", extra={"fields": {"why": str(error)[:200]}})
            except Exception:
                # One question that cannot be answered must not end the answering.
                log.exception("lookup_failed")
            finally:
                if client is not None:
                    client.abort()
            await asyncio.sleep(limits.REDIS_RETRY_MS_MAX / 1000)

    async def _next(self, client: RespClient) -> None:
        """Answer one question, or wait a while for one."""
        asked = await client.call("BLPOP", keys.LOOKUP, _BLOCK_S)
        if asked is None:
            return
        text = asked[1].decode("ascii", "replace")
        try:
            conversion_id = ids.parse_event("cnv", text)
        except ValueError:
            return
        found = await asyncio.to_thread(decision_by_id, self._ledger, conversion_id)
        kept_s = limits.DECISION_KEPT_S if found else limits.LOOKUP_NONE_KEPT_S
        # NX: what the matcher has stored since is newer than what was read.
        await client.call("SET", keys.decision(text), msgpack.packb(found), "EX", kept_s, "NX")
