"""Reports take turns: so many at once of a key, so many of all, and in threads of their own, so
that they hold up nothing but one another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from headwater import limits
from headwater.console.answers import Answer
from headwater.console.context import Console, Request
from headwater.console.routing import Handler
from headwater.errors import RequestRefused

_RETRY_AFTER = {"Retry-After": "1"}


class ReportTurns:
    """The reports of one console that are being made or written."""

    def __init__(self, console: Console) -> None:
        self._threads = ThreadPoolExecutor(limits.REPORT_THREADS, "report")
        self._console = replace(console, threads=self._threads)
        self._of_key: Counter[int] = Counter()
        self._made = 0

    async def answer(self, handler: Handler, request: Request, *, is_read: bool) -> Answer:
        """What the handler gives. One whose rows are written while they are read has its key's
        turn until they are, if they `is_read`; with the others it counts until its first rows, so
        that who reads slowly keeps nobody else waiting.

        Raises RequestRefused `rate_limited`.
        """
        key = 0 if request.key is None else int(request.key["id"])
        if self._of_key[key] >= limits.REPORTS_PER_KEY_MAX:
            detail = f"Of a key {limits.REPORTS_PER_KEY_MAX} reports are made at once; retry later."
            raise RequestRefused("rate_limited", detail, headers=_RETRY_AFTER)
        if self._made >= limits.REPORTS_MAX:
            detail = f"{limits.REPORTS_MAX} reports are made already; retry later."
            raise RequestRefused("rate_limited", detail, headers=_RETRY_AFTER)
        turn = _Turn(self._of_key, key)
        self._made += 1
        try:
            answer = await handler(self._console, request)
        except BaseException:
            turn.end()
            raise
        finally:
            self._made -= 1
        if is_read and isinstance(answer.body, AsyncIterator):
            return replace(answer, body=_Held(answer.body, turn))
        turn.end()
        return answer

    def close(self) -> None:
        """Begin no report any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class _Turn:
    def __init__(self, of_key: Counter[int], key: int) -> None:
        self._of_key, self._key, self._is_over = of_key, key, False
        of_key[key] += 1

    def end(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._of_key[self._key] -= 1
        if not self._of_key[self._key]:
            del self._of_key[self._key]


class _Held(AsyncIterator[bytes]):
    """Chunks, and a turn that is over when they are, or when nobody has them any more."""

    def __init__(self, chunks: AsyncIterator[bytes], turn: _Turn) -> None:
        self._chunks, self._turn = chunks, turn

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._chunks)
        except BaseException:
            self._turn.end()
            raise

    def __del__(self) -> None:
        self._turn.end()
