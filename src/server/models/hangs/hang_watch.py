"""Looks at an engine that is silent: whether it still computes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from ....lifecycle import end_tasks
from ...contract.engine import Engine, StepCount
from ...contract.errors import InferenceError
from ...machine.process_group import observe_group
from ..stall_timer import StallTimer
from .silence import Look, Silence

_logger = structlog.get_logger(__name__)

_INTERVAL_S: Final = 1.0
_LOOKS_PER_HANG: Final = 10
_MAX_GAP: Final = 3  # of looks


class HangWatch:
    """Calls `on_hang`, with the reason, once an engine with work has ceased to go on; 0: never.

    While events flow it asks nothing: `timers`, one for each kind of work, tell how long there was
    none.
    """

    def __init__(
        self,
        model_id: str,
        timers: Sequence[StallTimer],
        hang_s: float,
        on_hang: Callable[[str], None],
    ) -> None:
        self._model_id = model_id
        self._timers = timers
        self._hang_s = hang_s
        self._on_hang = on_hang
        self._interval_s = min(_INTERVAL_S, hang_s / _LOOKS_PER_HANG)

    async def run(self, engine: Engine) -> None:
        """Watches `engine` until it hangs, or until cancelled."""
        if not self._hang_s:
            return
        max_gap_s = _MAX_GAP * self._interval_s
        silences = [(timer, Silence(self._hang_s, max_gap_s)) for timer in self._timers]
        asking: asyncio.Task[StepCount | None] | None = None
        try:
            while True:
                await asyncio.sleep(self._interval_s)
                silent = [each for each in silences if self._is_silent(each[0])]
                if not silent:
                    continue
                # One question at a time, for as long as it takes: a frozen engine would be left
                # with all of them, and one that computes may answer behind its step.
                steps = None
                if asking is None:
                    asking = asyncio.create_task(self._ask(engine), name="count-steps")
                    await asyncio.wait({asking}, timeout=self._interval_s)
                if asking.done():
                    steps, asking = asking.result(), None
                activity = await asyncio.to_thread(observe_group, engine.pid)
                now_s = asyncio.get_running_loop().time()
                for timer, silence in silent:
                    why = silence.take(Look(now_s, timer.silent_s, steps, activity))
                    if why is not None:
                        self._on_hang(why)
                        return
        finally:
            if asking is not None:
                await end_tasks(asking)

    def _is_silent(self, timer: StallTimer) -> bool:
        return timer.has_work and timer.silent_s >= self._interval_s

    async def _ask(self, engine: Engine) -> StepCount | None:
        try:
            return await engine.count_steps()
        except InferenceError:  # that it is dead is found elsewhere
            return None
        except Exception:
            _logger.exception("count_steps_failed", model=self._model_id)
            return None
