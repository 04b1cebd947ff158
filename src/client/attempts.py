"""How often a call is tried, how long it waits between, and when it is over."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import grpc

from .errors import TokenwireError

# What one server says of itself: another one behind the same name may take the call at once.
_OF_ONE_SERVER: Final = ("DRAINING", "MODEL_LOADING")
_MAX_ELSEWHERE: Final = 8
# A connection that broke before anything was heard: that of a server that ended, mostly. What had
# arrived there and was not begun yet, gRPC's own server ends with CANCELLED.
_LOSSES: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
_MAX_LOST: Final = 2
_FIRST_DELAY_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Bounds of the tries that follow where the server says that another is worthwhile.

    A wait is as long as the server says. One longer than `max_delay_s` is not waited for:
    the failure is raised instead. `max_attempts` counts the first try; 1 never tries again.

    What one of several servers says of itself, as that it drains, and a connection that is lost
    before anything came, are tried again sooner, and these few tries do not count.
    """

    max_attempts: int = 4
    max_delay_s: float = 30.0


class Attempts:
    """The tries of one call, within its deadline. `timeout_s` None: it has none."""

    def __init__(self, policy: RetryPolicy, timeout_s: float | None) -> None:
        self._policy = policy
        self._num_left = policy.max_attempts - 1
        self._num_elsewhere = 0
        self._deadline_s = None if timeout_s is None else time.monotonic() + timeout_s

    def remaining_s(self) -> float | None:
        """Returns what is left until the deadline; at least 0."""
        if self._deadline_s is None:
            return None
        return max(0.0, self._deadline_s - time.monotonic())

    def delay_after(self, error: TokenwireError) -> float | None:
        """Returns how long to wait before the next try, None where there is none."""
        soon_s = self._delay_elsewhere(error)
        delay_s = error.retry_after_s if soon_s is None else soon_s
        remaining_s = self.remaining_s()
        if delay_s is None or self._num_left <= 0 or delay_s > self._policy.max_delay_s:
            return None
        if remaining_s is not None and delay_s >= remaining_s:
            return None  # it would end in the wait: the failure at hand says more
        self._num_left -= soon_s is None
        return delay_s

    def _delay_elsewhere(self, error: TokenwireError) -> float | None:
        """Returns how long to wait until another server is asked, None where it is of no use."""
        is_lost = error.code in _LOSSES and not error.reason
        max_tries = _MAX_LOST if is_lost else _MAX_ELSEWHERE
        if not is_lost and error.reason not in _OF_ONE_SERVER:
            return None
        if self._num_elsewhere >= max_tries:
            return None
        self._num_elsewhere += 1
        soon_s = _FIRST_DELAY_S * (1 << (self._num_elsewhere - 1))
        return soon_s if error.retry_after_s is None else min(soon_s, error.retry_after_s)
