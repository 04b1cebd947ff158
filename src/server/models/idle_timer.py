"""How long nobody has used a model."""

from __future__ import annotations

import contextvars
from asyncio import TimerHandle, get_running_loop
from collections.abc import Callable, Generator
from contextlib import contextmanager


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
