"""How long an engine has had work and given no sign of it."""

from __future__ import annotations

import contextvars
import time
from asyncio import TimerHandle, get_running_loop
from collections.abc import Callable, Generator
from contextlib import contextmanager


class StallTimer:
    """Calls `on_stall` once requests ran for `stall_s` seconds without an event; 0: never.

    Work of one kind has a timer: an engine whose model hangs may go on answering questions.
    Only time with work counts, and it adds up over requests: clients that give up on a frozen
    engine one after another do not hide it. Only time between `start` and `stop` counts: a request
    that waits for the next engine is work, and its wait is no silence of that engine.
    """

    def __init__(self, stall_s: float, on_stall: Callable[[], None]) -> None:
        self._stall_s = stall_s
        self._on_stall = on_stall
        self._is_running = False
        # The loop's, once one runs. CPython 3.11 makes a system call when it is asked for the loop,
        # and signs come with every token.
        self._time = time.monotonic
        self._num_running = 0
        # Silence of the stretches of work before this one, and when this one's began.
        self._silent_s = 0.0
        self._since_s = 0.0
        self._handle: TimerHandle | None = None

    @property
    def has_work(self) -> bool:
        """Whether requests run on an engine that is watched."""
        return self._is_running and self._num_running > 0

    @property
    def silent_s(self) -> float:
        """The time with work since the engine's last event."""
        return self._measure() if self._num_running else self._silent_s

    def start(self) -> None:
        """Begins to watch: an engine serves, and has given a sign."""
        self._is_running = True
        self._time = get_running_loop().time
        self.record_sign()
        if self._num_running > 0:
            self._arm()

    def stop(self) -> None:
        """Stops watching: there is no engine to be silent."""
        self._is_running = False
        self._disarm()

    def record_sign(self) -> None:
        """Begins the silence anew: the engine gave a sign."""
        self._silent_s = 0.0
        self._since_s = self._time()

    @contextmanager
    def work(self) -> Generator[None]:
        """Counts as a running request for the body's time."""
        if self._num_running == 0:
            self._since_s = self._time()
            self._arm()
        self._num_running += 1
        try:
            yield
        finally:
            self._num_running -= 1
            if self._num_running == 0:
                self._silent_s = self._measure()
                self._disarm()

    def _measure(self) -> float:
        return self._silent_s + self._time() - self._since_s

    def _arm(self) -> None:
        if self._is_running and self._stall_s > 0:
            rest_s = max(0.0, self._stall_s - self._measure())
            # In a context of its own: a stall belongs to no request.
            self._handle = get_running_loop().call_later(
                rest_s, self._look, context=contextvars.Context()
            )

    def _disarm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _look(self) -> None:
        self._handle = None
        if self._measure() >= self._stall_s:
            self._on_stall()
            self.record_sign()
        self._arm()
