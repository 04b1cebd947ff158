"""What may go wrong between this server and a hub, and how often it is tried again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog

_logger = structlog.get_logger(__name__)

_MIB = 1024 * 1024
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class HubLimits:
    """Bounds of every wait of a download, and of its files. Seconds and bytes.

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
    # Whoever writes a partial file changes its time this often, also while it waits for the hub.
    heartbeat_s: float = 5.0
    # A partial file that has not changed for so long is written by nobody.
    abandoned_s: float = 30.0
    max_connections: int = 4
    # Some proxies and CDNs send no larger object at once, but parts of it.
    max_range_bytes: int = 20 * 1024 * _MIB
    # The hub sends larger files through Xet alone (huggingface_hub's MAX_HTTP_DOWNLOAD_SIZE).
    max_file_bytes: int = 50 * 10**9
    report_interval_s: float = 1.0
    log_interval_s: float = 30.0


class HubFailure(Exception):
    """Something that another try does not mend.

    Callers read `reason` and `advice`: neither holds a path or a host. `detail` is for the log.
    """

    def __init__(self, reason: str, advice: str = "", detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice
        self.detail = detail


class TransientFailure(HubFailure):
    """Something that may be gone at the next try.

    `retry_after_s` is how long the hub asked to wait, None where it did not say.
    """

    def __init__(self, reason: str, advice: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(reason, advice)
        self.retry_after_s = retry_after_s


class WrongContents(HubFailure):
    """What arrived is not what the hub said it would be: nothing of it can be used."""


Sleep = Callable[[float], Awaitable[None]]


@dataclass
class RetryBudget:
    """Counts the failures of one thing in a row, and waits between them.

    `report_wait` gets a sentence before each wait.
    """

    repo: str
    limits: HubLimits
    report_wait: Callable[[str], None]
    sleep: Sleep = asyncio.sleep
    num_failed: int = 0

    def refill(self) -> None:
        """Makes the next failure the first one: there was progress."""
        self.num_failed = 0

    async def run(self, operation: Callable[[], Awaitable[_T]]) -> _T:
        """Returns what `operation` returns, tried until the budget is used up.

        Raises:
            HubFailure: no try succeeded, or one failed for good.
        """
        while True:
            try:
                return await operation()
            except TransientFailure as failure:
                await self.wait_after(failure)

    async def wait_after(self, failure: TransientFailure) -> None:
        """Waits until the next try is due.

        Raises:
            HubFailure: it was the last one, or the hub asks for a longer wait than is allowed.
        """
        limits = self.limits
        self.num_failed += 1
        reason, asked_s = failure.reason, failure.retry_after_s
        is_too_long = asked_s is not None and asked_s > limits.longest_retry_after_s
        if is_too_long and self.num_failed < limits.max_tries:
            reason += (
                f" and asks to wait {asked_s:.0f} s, longer than the "
                f"{limits.longest_retry_after_s:.0f} s that are waited"
            )
        if is_too_long or self.num_failed >= limits.max_tries:
            tries = "1 try" if self.num_failed == 1 else f"{self.num_failed} tries in a row"
            raise HubFailure(f"{reason} ({tries})", failure.advice, failure.detail) from failure
        wait_s = self._backoff_s() if asked_s is None else asked_s
        _logger.warning(
            "download_retry",
            repo=self.repo,
            reason=reason,
            detail=failure.detail,
            num_failed=self.num_failed,
            max_tries=limits.max_tries,
            wait_s=round(wait_s, 1),
        )
        self.report_wait(f"next try in {wait_s:.0f} s: {reason}")
        await self.sleep(wait_s)

    def _backoff_s(self) -> float:
        # "Equal jitter": half is kept, so that a hub that restarts gets its pause
        # (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
        limits = self.limits
        longest_s = min(limits.first_wait_s * 2.0 ** (self.num_failed - 1), limits.longest_wait_s)
        return longest_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
