"""What may go wrong between this server and a hub, and how often it is tried again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

_MIB = 1024 * 1024
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class HubLimits:
    """Bounds of every wait of a download. Seconds and bytes.

    A try that brought nothing counts; `max_tries` of them in a row end the download. One that
    brought `progress_bytes` makes the next failure the first again, so the tries for a file are
    bounded by its size. A hub that asks for a longer wait than `longest_retry_after_s` is not
    waited for.
    """

    # What huggingface_hub waits for an answer about a file (its HF_HUB_ETAG_TIMEOUT).
    metadata_timeout_s: float = 10.0
    # Three times huggingface_hub's own: a mirror may fetch a file itself before it sends a byte.
    stall_timeout_s: float = 30.0
    # Slower than this over `stall_timeout_s` is a stall, too: some proxies drip bytes for ever.
    min_bytes_per_s: float = 1024.0
    # One try and five retries, as huggingface_hub has.
    max_tries: int = 6
    progress_bytes: int = 16 * _MIB
    first_wait_s: float = 1.0
    longest_wait_s: float = 30.0
    # The window of the public hub's rate limits is five minutes
    # (https://huggingface.co/docs/hub/rate-limits).
    longest_retry_after_s: float = 300.0
    # A server that loads the same model holds its lock as long as it gets on.
    lock_stall_s: float = 600.0
    lock_poll_s: float = 0.5
    max_connections: int = 4
    # A CDN sends no object above 50 GB at once, but parts of it
    # (https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/RangeGETs.html).
    max_range_bytes: int = 20 * 1024 * _MIB
    report_interval_s: float = 1.0
    log_interval_s: float = 30.0


class HubFailure(Exception):
    """Something that another try does not mend. `advice` says what to do."""

    def __init__(self, reason: str, advice: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice


class TransientFailure(HubFailure):
    """Something that may be gone at the next try.

    `retry_after_s` is how long the hub asked to wait, None where it did not say.
    """

    def __init__(self, reason: str, advice: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(reason, advice)
        self.retry_after_s = retry_after_s


class WrongContents(HubFailure):
    """What arrived is not what the hub said it would be: nothing of it can be used."""


@dataclass(frozen=True, slots=True)
class Retry:
    """The wait before another try. `failure` is what made it needed, `num_failed` how many did."""

    failure: TransientFailure
    num_failed: int
    wait_s: float


Sleep = Callable[[float], Awaitable[None]]


class Tries:
    """Counts the failures of one thing in a row, and waits between them.

    `on_retry` is told of each wait before it begins.
    """

    def __init__(
        self,
        limits: HubLimits,
        on_retry: Callable[[Retry], None],
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._limits = limits
        self._on_retry = on_retry
        self._sleep = sleep
        self._num_failed = 0

    def start_again(self) -> None:
        """Makes the next failure the first one: there was progress."""
        self._num_failed = 0

    async def wait_after(self, failure: TransientFailure) -> None:
        """Waits until the next try is due.

        Raises:
            HubFailure: it was the last one, or the hub asks for a longer wait than is allowed.
        """
        self._num_failed += 1
        tries = f"{self._num_failed} {'try' if self._num_failed == 1 else 'tries in a row'}"
        if self._num_failed >= self._limits.max_tries:
            raise HubFailure(f"{failure.reason} ({tries})", failure.advice) from failure
        asked_s = failure.retry_after_s
        longest_s = self._limits.longest_retry_after_s
        if asked_s is not None and asked_s > longest_s:
            raise HubFailure(
                f"{failure.reason} and asks to wait {asked_s:.0f} s, longer than the "
                f"{longest_s:.0f} s that are waited ({tries})",
                failure.advice,
            ) from failure
        wait_s = self._backoff_s() if asked_s is None else asked_s
        self._on_retry(Retry(failure, self._num_failed, wait_s))
        await self._sleep(wait_s)

    def _backoff_s(self) -> float:
        # "Equal jitter": half is kept, so that a hub that restarts gets its pause
        # (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
        limits = self._limits
        longest_s = min(limits.first_wait_s * 2.0 ** (self._num_failed - 1), limits.longest_wait_s)
        return longest_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing


async def persist(operation: Callable[[], Awaitable[_T]], tries: Tries) -> _T:
    """Returns what `operation` returns, tried until `tries` are used up.

    Raises:
        HubFailure: no try succeeded, or one failed for good.
    """
    while True:
        try:
            return await operation()
        except TransientFailure as failure:
            await tries.wait_after(failure)
