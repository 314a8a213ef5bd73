"""Tasks that run beside everything else until they are told to stop."""

from __future__ import annotations

import asyncio


async def stop(*tasks: asyncio.Task[None] | None) -> None:
    """Cancel tasks and wait until they have ended; what they still raise is dropped."""
    begun = [task for task in tasks if task is not None]
    for task in begun:
        task.cancel()
    await asyncio.gather(*begun, return_exceptions=True)
