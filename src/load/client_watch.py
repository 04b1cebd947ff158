"""Whether this client itself was the bottleneck."""

from __future__ import annotations

import asyncio
import time
from array import array
from types import TracebackType
from typing import Self

_INTERVAL_S = 0.01


class ClientWatch:
    """Measures the time of its block: how late the event loop ran, and what CPU this process used.

    async with ClientWatch() as watch:
        ...
    print(watch.cpu_s, watch.loop_cpu_s, max(watch.lags_s))
    """

    def __init__(self) -> None:
        self.lags_s = array("d")
        self.cpu_s = 0.0
        self.loop_cpu_s = 0.0
        self.wall_s = 0.0

    async def __aenter__(self) -> Self:
        """Begins to measure."""
        self._begun = (time.process_time(), time.thread_time(), time.perf_counter())
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends it."""
        self._task.cancel()
        cpu_s, loop_cpu_s, start_s = self._begun
        # In this order: the loop's is part of the other.
        self.loop_cpu_s = time.thread_time() - loop_cpu_s
        self.cpu_s = time.process_time() - cpu_s
        self.wall_s = time.perf_counter() - start_s
        await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            due_s = time.perf_counter() + _INTERVAL_S
            await asyncio.sleep(_INTERVAL_S)
            self.lags_s.append(max(0.0, time.perf_counter() - due_s))
