"""A clock that a test moves by hand, in the place of an event loop's."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass


@dataclass(eq=False)
class Timer:
    """A call that is due at a time, unless it is cancelled."""

    clock: HandClock
    due_s: float
    callback: Callable[[], None]
    context: Context | None

    def cancel(self) -> None:
        """Takes the call back."""
        if self in self.clock.timers:
            self.clock.timers.remove(self)


class HandClock:
    """Tells the time and calls later, as an event loop does."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now_s

    def call_later(
        self, delay_s: float, callback: Callable[[], None], context: Context | None = None
    ) -> Timer:
        timer = Timer(self, self.now_s + delay_s, callback, context)
        self.timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        """Moves the time on, and makes the calls that fall due on the way."""
        end_s = self.now_s + seconds
        while due := [timer for timer in self.timers if timer.due_s <= end_s]:
            timer = min(due, key=lambda each: each.due_s)
            self.now_s = timer.due_s
            timer.cancel()
            timer.callback()
        self.now_s = end_s
