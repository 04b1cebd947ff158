"""An engine's own count of its work, asked for beside the requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog

from ..contract.engine import Engine, EngineStatus
from ..contract.errors import InferenceError
from .standing import Standing

_logger = structlog.get_logger(__name__)

INTERVAL_S: Final = 1.0
# llama.cpp answers between two steps, of which one may take long on a CPU.
_MAX_ANSWER_S: Final = 10.0


class StatusWatch:
    """Asks the engine of one model for its status once a second, while requests run.

    One that is at rest is not asked again before the next request.
    """

    def __init__(
        self, standing: Standing, is_idle: Callable[[], bool], interval_s: float = INTERVAL_S
    ) -> None:
        self._standing = standing
        self._is_idle = is_idle
        self._interval_s = interval_s
        self._has_news = asyncio.Event()
        self._asked: Engine | None = None
        self._status: EngineStatus | None = None

    @property
    def latest(self) -> EngineStatus | None:
        """The last status of the engine that serves now; None where there is none yet."""
        is_current = self._standing.is_serving and self._standing.engine is self._asked
        return self._status if is_current else None

    def wake(self) -> None:
        """Has the engine asked now: it is another one, or there was none."""
        self._has_news.set()

    async def run(self) -> None:
        """Asks until cancelled."""
        while True:
            self._has_news.clear()
            if not self._is_at_rest():
                await self.ask()
            interval_s = self._interval_s if self._standing.is_serving else None
            with suppress(TimeoutError):
                async with asyncio.timeout(interval_s):
                    await self._has_news.wait()

    async def ask(self) -> None:
        """Asks the engine that serves, if one does, and keeps what it tells."""
        if self._standing.is_serving:
            engine = self._standing.engine
            status = await self._ask(engine)
            self._asked, self._status = engine, status

    def _is_at_rest(self) -> bool:
        status = self.latest
        return (
            status is not None
            and self._is_idle()
            and not (status.num_running or status.num_queued or status.kv_usage)
        )

    async def _ask(self, engine: Engine) -> EngineStatus | None:
        try:
            async with asyncio.timeout(_MAX_ANSWER_S):
                return await engine.status()
        except (InferenceError, TimeoutError) as error:
            # That an engine is dead or stalled is found elsewhere.
            _logger.debug("no_status", model=self._standing.view.model_id, error=str(error))
        except Exception:  # the model serves all the same
            _logger.exception("status_failed", model=self._standing.view.model_id)
        return None
