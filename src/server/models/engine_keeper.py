"""What keeps an engine running while its model is wanted."""

from __future__ import annotations

import asyncio
import time
from contextlib import nullcontext

import structlog

from ...lifecycle import end_tasks
from ...restart_backoff import RestartBackoff
from ..contract.engine import EngineLauncher
from ..contract.errors import LoadKilled, ModelLoadFailed
from ..contract.load_progress import LoadProgress
from .engine_end import EndCause, EndWatch, EngineEnd
from .hangs.hang_watch import HangWatch
from .stall_timer import StallTimer
from .standing import Standing

_logger = structlog.get_logger(__name__)

# Waits before the first, second, … restart of an engine that keeps dying.
_RESTART_DELAYS_S = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0)
# The same where a first load was ended from outside: who needed the memory may be gone by then.
_LOAD_DELAYS_S = (2.0, 10.0, 30.0)


class EngineKeeper:
    """Runs the engines of one model one after another, and tells `standing` about them.

    An engine that gives no sign of running requests for `stall_s` seconds, 0 meaning any time, is
    taken for dead; so is one that does not compute for `hang_s`, see `Silence`. `load_s` is the
    time that the last load took, None before the first.
    """

    def __init__(self, standing: Standing, stall_s: float, hang_s: float = 0.0) -> None:
        self.num_restarts = 0
        self.num_hangs = 0
        self.load_s: float | None = None
        self.stall_timer = StallTimer(stall_s, self._stall)
        # Of prompts and texts, which some engines render in another process than the model's:
        # what callers who try again and again ask there is no sign of those who wait for a token.
        self.question_timer = StallTimer(stall_s, self._stall)
        self._standing = standing
        self._stall_s = stall_s
        timers = (self.stall_timer, self.question_timer)
        self._hang_watch = HangWatch(standing.view.model_id, timers, hang_s, self._hang)
        self._watch = EndWatch()

    async def run(self, launcher: EngineLauncher, turn: asyncio.Lock) -> None:
        """Keeps an engine running until it is unloaded. The first load is made under `turn`.

        Raises:
            ModelLoadFailed: the first load failed by itself or was killed four times in a row, or
                engines died too often.
        """
        backoff = RestartBackoff(_RESTART_DELAYS_S)
        order: asyncio.Lock | None = turn
        first_loads = RestartBackoff(_LOAD_DELAYS_S)
        while True:
            try:
                lived_s, end = await self._run_once(launcher, order)
            except LoadKilled as error:
                await self._wait_to_load(first_loads, error)
                continue
            if end.cause is EndCause.UNLOADED:
                return
            delay_s = backoff.next_delay_s(lived_s)
            if delay_s is None:
                message = f"its engine died {backoff.num_deaths} times in a row"
                raise ModelLoadFailed(f"{message}; the server's log says why", detail=end.reason)
            self.num_restarts += 1
            _logger.error(
                "engine_lost",
                model=self._standing.view.model_id,
                cause=end.cause.value,
                reason=end.reason,
                restart_in_s=delay_s,
            )
            self._standing.restart()
            await asyncio.sleep(delay_s)
            order = None

    def unload(self) -> None:
        """Ends the engine that runs, which nobody uses."""
        self._standing.unload()
        self._watch.order(EngineEnd(EndCause.UNLOADED, "nobody used it"))

    async def _wait_to_load(self, backoff: RestartBackoff, error: LoadKilled) -> None:
        delay_s = backoff.next_delay_s(0.0)
        if delay_s is None:
            raise error
        _logger.error(
            "load_killed",
            model=self._standing.view.model_id,
            reason=error.message,
            detail=error.detail,
            try_again_in_s=delay_s,
        )
        self._standing.report(LoadProgress("waiting to load again: the load was killed"))
        await asyncio.sleep(delay_s)

    async def _run_once(
        self, launcher: EngineLauncher, turn: asyncio.Lock | None
    ) -> tuple[float, EngineEnd]:
        """Runs one engine; returns how long it served, and how it ended."""
        async with turn or nullcontext():
            start_s = time.monotonic()
            try:
                engine = await launcher.launch(self._standing.report)
            except ModelLoadFailed as error:
                if self._standing.view.info is None:
                    raise  # never loaded: another try would end the same
                # It was loaded before, so what is wrong may pass, such as a lack of memory.
                return 0.0, EngineEnd(EndCause.DIED, f"{error.message} {error.detail}".rstrip())
        serving_since_s = time.monotonic()
        self.load_s = serving_since_s - start_s
        self._watch = EndWatch()
        watching = asyncio.create_task(self._hang_watch.run(engine), name="hang-watch")
        try:
            self.stall_timer.start()
            self.question_timer.start()
            self._standing.serve(engine)
            end = await self._watch.wait(engine)
        finally:
            watching.cancel()
            lived_s = time.monotonic() - serving_since_s
            self.stall_timer.stop()
            self.question_timer.stop()
            self._standing.end_engine()
            await engine.close()
            await end_tasks(watching)
        return lived_s, end

    def _hang(self, reason: str) -> None:
        self.num_hangs += 1
        self._watch.order(EngineEnd(EndCause.HUNG, reason))

    def _stall(self) -> None:
        self.num_hangs += 1
        reason = f"it gave no sign of its running requests for {self._stall_s:g} s"
        self._watch.order(EngineEnd(EndCause.STALLED, reason))
