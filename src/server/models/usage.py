"""The use of a model: what asks for its load, and what keeps it loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager

import structlog

from .idle_timer import IdleTimer
from .model_state import State
from .standing import Standing

_logger = structlog.get_logger(__name__)


class Usage:
    """Whether one model is wanted: from the start unless it is on demand, then while it is used.

    `on_idle` is called once an engine served without a user for `idle_unload_s` seconds; 0: never.
    """

    def __init__(
        self, standing: Standing, idle_unload_s: float, on_idle: Callable[[], None]
    ) -> None:
        self._standing = standing
        self._on_idle = on_idle
        self.idle_timer = IdleTimer(idle_unload_s, self._unload)
        self._is_wanted = asyncio.Event()
        if not standing.is_on_demand:
            self._is_wanted.set()

    @contextmanager
    def hold(self) -> Generator[None]:
        """Counts as a user for the body's time, and asks for the load where it is on demand."""
        with self.idle_timer.hold():
            if self._standing.is_on_demand and not self._is_wanted.is_set():
                self._is_wanted.set()
                _logger.info("model_wanted", model=self._standing.view.model_id)
                if self._standing.view.state is State.UNLOADED:
                    self._standing.want()
            yield

    async def wait_wanted(self) -> None:
        """Waits until the model is to be loaded: a request ends it."""
        await self._is_wanted.wait()

    def record_rest(self) -> None:
        """Records that there is no engine: the model is loaded again where it is wanted already."""
        if self._is_wanted.is_set():
            self._standing.want()
        else:
            self._standing.rest()

    def _unload(self) -> None:
        self._is_wanted.clear()
        self._on_idle()
