"""How often a call is tried, how long it waits between, and when it is over."""

from __future__ import annotations

import time
from dataclasses import dataclass

from .errors import TokenwireError


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Bounds of the tries that follow where the server says that another is worthwhile.

    A wait is as long as the server says. One longer than `max_delay_s` is not waited for:
    the failure is raised instead. `max_attempts` counts the first try; 1 never tries again.
    """

    max_attempts: int = 4
    max_delay_s: float = 30.0


class Attempts:
    """The tries of one call, within its deadline. `timeout_s` None: it has none."""

    def __init__(self, policy: RetryPolicy, timeout_s: float | None) -> None:
        self._policy = policy
        self._num_left = policy.max_attempts - 1
        self._deadline_s = None if timeout_s is None else time.monotonic() + timeout_s

    def remaining_s(self) -> float | None:
        """Returns what is left until the deadline; at least 0."""
        if self._deadline_s is None:
            return None
        return max(0.0, self._deadline_s - time.monotonic())

    def delay_after(self, error: TokenwireError) -> float | None:
        """Returns how long to wait before the next try, None where there is none."""
        delay_s = error.retry_after_s
        remaining_s = self.remaining_s()
        if delay_s is None or self._num_left <= 0 or delay_s > self._policy.max_delay_s:
            return None
        if remaining_s is not None and delay_s >= remaining_s:
            return None  # it would end in the wait: the failure at hand says more
        self._num_left -= 1
        return delay_s
