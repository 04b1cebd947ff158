"""How far a download is, over all its files, in words and as a fraction."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping

import structlog

from ...contract.engine import LoadProgress, ReportProgress
from .retry import HubLimits, Retry

_logger = structlog.get_logger(__name__)

_KIB = 1024
# Long enough to smooth what a CDN sends, short enough to show that a line became slow.
_RATE_WINDOW_S = 10.0


class HubProgress:
    """Adds up what is here of each file and tells it, at most once in `limits.report_interval_s`.

    `sizes` are by any key of a file; None where the hub does not tell one. What was here before
    counts as done, and not for the rate.
    """

    def __init__(
        self,
        repo: str,
        sizes: Mapping[str, int | None],
        tell: ReportProgress,
        limits: HubLimits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._repo = repo
        self._sizes = sizes
        self._here = dict.fromkeys(sizes, 0)
        self._tell = tell
        self._limits = limits
        self._clock = clock
        self._start_s = clock()
        self._arrived: deque[tuple[float, int]] = deque([(self._start_s, 0)])
        self._num_arrived = 0
        self._told_s = float("-inf")
        self._logged_s = self._start_s

    @property
    def total(self) -> int:
        """Bytes of all files whose size is known."""
        return sum(size or 0 for size in self._sizes.values())

    @property
    def done(self) -> int:
        """Bytes of them that are here."""
        return sum(self._here.values())

    @property
    def num_arrived(self) -> int:
        """Bytes that came over the network."""
        return self._num_arrived

    def found(self, key: str, num_bytes: int) -> None:
        """Notes how much of a file is here, without that it came now."""
        self._here[key] = num_bytes

    def arrived(self, key: str, num_bytes: int) -> None:
        """Counts bytes that came over the network."""
        self._here[key] += num_bytes
        self._num_arrived += num_bytes
        self._report()

    def checking(self, name: str, done: int, total: int) -> None:
        """Says that a file that was here before is read, and how far."""
        self._say(f"checking, {name}: {amounts(done, total)}")

    def taking_up(self, name: str, done: int, total: int) -> None:
        """Says that what an earlier download left of a file is read, and how far."""
        # Other files arrive meanwhile: the words before the comma are those of that step.
        self._say(f"downloading, {self._amounts()}, {name} is taken up: {amounts(done, total)}")

    def retrying(self, retry: Retry) -> None:
        """Says that there is a wait before the next try, and why."""
        log_retry(self._repo, retry, self._limits)
        self._told_s = float("-inf")
        wait = f"next try in {retry.wait_s:.0f} s"
        self._say(f"{self._amounts()}, {wait}: {retry.failure.reason}")

    def finish(self) -> None:
        """Tells the end, however short ago the last step was told."""
        self._told_s = float("-inf")
        self._report()

    def _report(self) -> None:
        now_s = self._clock()
        if now_s - self._told_s < self._limits.report_interval_s:
            return
        rate = self._rate(now_s)
        detail = self._amounts()
        if rate > 0 and self.done < self.total:
            left_s = (self.total - self.done) / rate
            detail += f", {amount(int(rate))}/s, {duration(left_s)} left"
        self._say(detail)
        if now_s - self._logged_s >= self._limits.log_interval_s:
            self._logged_s = now_s
            _logger.info(
                "download_progress",
                repo=self._repo,
                bytes_done=self.done,
                bytes_total=self.total,
                bytes_per_s=int(rate),
            )

    def _say(self, detail: str) -> None:
        now_s = self._clock()
        if now_s - self._told_s < self._limits.report_interval_s:
            return
        self._told_s = now_s
        fraction = min(self.done / self.total, 1.0) if self.total else None
        self._tell(LoadProgress("downloading", fraction, detail))

    def _amounts(self) -> str:
        return amounts(self.done, self.total) if self.total else amount(self.done)

    def _rate(self, now_s: float) -> float:
        """Returns bytes per second over the last seconds, 0 before anything can be said."""
        self._arrived.append((now_s, self._num_arrived))
        while len(self._arrived) > 2 and now_s - self._arrived[1][0] >= _RATE_WINDOW_S:
            self._arrived.popleft()
        since_s, before = self._arrived[0]
        return (self._num_arrived - before) / (now_s - since_s) if now_s > since_s else 0.0


def log_retry(repo: str, retry: Retry, limits: HubLimits) -> None:
    """Logs that there will be another try, and why."""
    _logger.warning(
        "download_retry",
        repo=repo,
        reason=retry.failure.reason,
        num_failed=retry.num_failed,
        max_tries=limits.max_tries,
        wait_s=round(retry.wait_s, 1),
    )


def amount(num_bytes: int) -> str:
    """Returns a number of bytes in words, such as 12.3 MiB."""
    value, unit = _scale(num_bytes)
    return f"{num_bytes / value:{_form(num_bytes, value)}} {unit}"


def amounts(done: int, total: int) -> str:
    """Returns how much of a whole there is, in one unit."""
    value, unit = _scale(total)
    form = _form(total, value)
    return f"{done / value:{form}} of {total / value:{form}} {unit}"


def duration(seconds: float) -> str:
    """Returns seconds in words, such as 8 s, 3 min, 2 h 5 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _scale(num_bytes: int) -> tuple[int, str]:
    if num_bytes >= _KIB**3:
        return _KIB**3, "GiB"
    return (_KIB**2, "MiB") if num_bytes >= _KIB**2 // 10 else (_KIB, "KiB")


def _form(num_bytes: int, value: int) -> str:
    return ".1f" if num_bytes < 100 * value else ".0f"
