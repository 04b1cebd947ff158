"""The use of a model: what asks for its load, and what keeps it loaded."""

from __future__ import annotations

import asyncio
import contextvars
from asyncio import TimerHandle, get_running_loop
from collections.abc import Callable, Generator
from contextlib import contextmanager

import structlog

from .model_state import State
from .standing import Standing

_logger = structlog.get_logger(__name__)


class IdleTimer:
    """Calls `on_idle` once a running timer saw no user for `idle_s` seconds; 0: never.

    `on_idle` is called by the event loop itself, so that no user can come between the last look
    and the call.
    """

    def __init__(self, idle_s: float, on_idle: Callable[[], None]) -> None:
        self._idle_s = idle_s
        self._on_idle = on_idle
        self._is_running = False
        self._handle: TimerHandle | None = None
        self.num_users = 0

    def start(self) -> None:
        """Begins to watch: from now on idle time counts."""
        self._is_running = True
        self._arm()

    def stop(self) -> None:
        """Stops watching."""
        self._is_running = False
        self._disarm()

    @contextmanager
    def hold(self) -> Generator[None]:
        """Counts as a user for the body's time."""
        self.num_users += 1
        self._disarm()
        try:
            yield
        finally:
            self.num_users -= 1
            self._arm()

    def _arm(self) -> None:
        if self._is_running and self._idle_s > 0 and self.num_users == 0:
            # In a context of its own: the end of an idle time belongs to no request.
            self._handle = get_running_loop().call_later(
                self._idle_s, self._expire, context=contextvars.Context()
            )

    def _disarm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _expire(self) -> None:
        self._handle = None
        self.stop()
        self._on_idle()


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
