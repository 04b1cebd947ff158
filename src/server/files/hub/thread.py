"""Runs a coroutine in a thread and a loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")
# The end of what is not wanted any more: it closes sockets and files, and waits for nobody.
_END_TIMEOUT_S = 5.0


async def run_in_thread(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Returns what `coroutine` returns; cancelling this cancels it and waits until it has ended.

    A download that writes to a slow disk, or hashes, would hold up the answers of the models that
    share a loop with it.
    """
    outer = asyncio.get_running_loop()
    inner = asyncio.new_event_loop()
    has_ended = asyncio.Event()

    def work() -> None:
        try:
            asyncio.set_event_loop(inner)
            inner.run_forever()
            tasks = asyncio.all_tasks(inner)
            for task in tasks:
                task.cancel()
            inner.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            inner.run_until_complete(inner.shutdown_asyncgens())
            inner.run_until_complete(inner.shutdown_default_executor())
        finally:
            inner.close()
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                outer.call_soon_threadsafe(has_ended.set)

    # Not one of the loop's own threads: the end of the process would wait for those.
    threading.Thread(target=work, name="hub-download", daemon=True).start()
    future = asyncio.run_coroutine_threadsafe(coroutine, inner)
    try:
        return await asyncio.wrap_future(future)
    finally:
        inner.call_soon_threadsafe(inner.stop)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_TIMEOUT_S):
                await has_ended.wait()
