"""What one key uses of its limits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from ..contract.errors import QuotaExceeded
from .api_key import Limits

Clock = Callable[[], float]


class Allowance:
    """So much a minute, all of it at first: what is not taken is kept for a minute and no longer.

    More can be taken than is left. Then it is waited for.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._read_s = clock()
        self._left = math.inf

    def take(self, amount: float) -> None:
        """Takes, also what is not there."""
        self._left -= amount

    def wait_s(self, per_minute: int) -> float:
        """Returns the seconds until one is left, 0 where it is."""
        now_s = self._clock()
        gained = (now_s - self._read_s) * per_minute / 60
        self._left = min(float(per_minute), self._left + gained)
        self._read_s = now_s
        return max(0.0, (1 - self._left) * 60 / per_minute)


class Meter:
    """Counts the calls, the requests in flight and the tokens of one key, and refuses the next."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._num_in_flight = 0
        self._requests = Allowance(clock)
        self._tokens = Allowance(clock)

    def count_call(self, limits: Limits) -> None:
        """Counts a call.

        Raises:
            QuotaExceeded: too many came before it.
        """
        limit = limits.requests_per_minute
        if limit is None:
            return
        wait_s = self._requests.wait_s(limit)
        if wait_s > 0:
            raise QuotaExceeded(
                f"this key may make {limit} requests a minute, and has made them",
                limit=limit,
                retry_after_s=wait_s,
            )
        self._requests.take(1)

    def enter(self, limits: Limits, num_choices: int) -> None:
        """Counts a request in, each of its choices as one in flight.

        Raises:
            QuotaExceeded: too many are in flight, or more tokens were used than the key may.
        """
        limit = limits.tokens_per_minute
        wait_s = 0.0 if limit is None else self._tokens.wait_s(limit)
        if limit is not None and wait_s > 0:
            raise QuotaExceeded(
                f"this key may use {limit} tokens a minute, and has used them",
                limit=limit,
                retry_after_s=wait_s,
            )
        most = limits.max_in_flight
        if most is not None and self._num_in_flight + num_choices > most:
            raise QuotaExceeded(
                f"this key may have {most} requests in flight, and has {self._num_in_flight}",
                limit=most,
                actual=self._num_in_flight,
            )
        self._num_in_flight += num_choices

    def leave(self, num_choices: int) -> None:
        """Counts a request out."""
        self._num_in_flight -= num_choices

    def spend(self, limits: Limits, num_tokens: int) -> None:
        """Counts the tokens of a request that ended, prompt and answer."""
        if limits.tokens_per_minute is not None:
            self._tokens.wait_s(limits.tokens_per_minute)  # what came back until now
            self._tokens.take(num_tokens)
