"""How far a download is, over all its files, in words and as a fraction."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable

import structlog

from ...contract.load_progress import Download, LoadProgress, ReportProgress
from .answers import HubFile
from .retry import HubLimits

_logger = structlog.get_logger(__name__)

_KIB = 1024
# Long enough to smooth what a CDN sends, short enough to show that a line became slow.
_RATE_WINDOW_S = 10.0


class HubProgress:
    """Adds up what is here of each file and reports it, at most once in `report_interval_s`.

    Files of equal contents are one. What was here before counts as done, and not for the rate.
    """

    def __init__(
        self,
        repo: str,
        files: Iterable[HubFile],
        report: ReportProgress,
        limits: HubLimits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._repo = repo
        self._here = {file.etag: 0 for file in files}
        self.total = sum({file.etag: file.size or 0 for file in files}.values())
        self.num_arrived = 0
        self._report = report
        self._limits = limits
        self._clock = clock
        self._logged_s = clock()
        self._arrived: deque[tuple[float, int]] = deque([(self._logged_s, 0)])
        self._reported_s = float("-inf")

    @property
    def done(self) -> int:
        """Bytes of the files that are here."""
        return sum(self._here.values())

    def found(self, file: HubFile, num_bytes: int) -> None:
        """Takes down how much of a file is here, without that it came now."""
        self._here[file.etag] = num_bytes

    def arrived(self, file: HubFile, num_bytes: int) -> None:
        """Counts bytes that came over the network."""
        self._here[file.etag] += num_bytes
        self.num_arrived += num_bytes
        self._report_amounts()

    def checking(self, name: str, done: int, total: int) -> None:
        """Says that a file is read, and how far."""
        self._say(f"{self._amounts()}, checking {name}: {amounts(done, total)}")

    def waiting(self, why: str) -> None:
        """Says that there is a wait before the next try, and why."""
        self._reported_s = float("-inf")
        self._say(f"{self._amounts()}, {why}")

    def finish(self) -> None:
        """Reports the end, however short ago the last step was reported."""
        self._reported_s = float("-inf")
        self._report_amounts()

    def _report_amounts(self) -> None:
        now_s = self._clock()
        if now_s - self._reported_s < self._limits.report_interval_s:
            return
        rate = self._rate(now_s)
        left = ""
        if rate > 0 and self.done < self.total:
            left_s = (self.total - self.done) / rate
            left = f", {amount(int(rate))}/s, {duration(left_s)} left"
        self._say(self._amounts() + left)
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
        if now_s - self._reported_s < self._limits.report_interval_s:
            return
        self._reported_s = now_s
        done, total = self.done, self.total
        fraction = min(done / total, 1.0) if total else None
        self._report(LoadProgress("downloading", fraction, detail, Download(done, total)))

    def _amounts(self) -> str:
        return amounts(self.done, self.total) if self.total else amount(self.done)

    def _rate(self, now_s: float) -> float:
        """Returns bytes per second over the last seconds, 0 before anything can be said."""
        self._arrived.append((now_s, self.num_arrived))
        while len(self._arrived) > 2 and now_s - self._arrived[1][0] >= _RATE_WINDOW_S:
            self._arrived.popleft()
        since_s, before = self._arrived[0]
        return (self.num_arrived - before) / (now_s - since_s) if now_s > since_s else 0.0


def amount(num_bytes: int) -> str:
    """Returns a number of bytes in words, such as 12.3 MiB."""
    return f"{_words(num_bytes, num_bytes)} {_unit(num_bytes)[1]}"


def amounts(done: int, total: int) -> str:
    """Returns how much of a whole there is, in one unit."""
    return f"{_words(done, total)} of {amount(total)}"


def duration(seconds: float) -> str:
    """Returns seconds in words, such as 8 s, 3 min, 2 h 5 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _unit(num_bytes: int) -> tuple[int, str]:
    if num_bytes >= _KIB**3:
        return _KIB**3, "GiB"
    return (_KIB**2, "MiB") if num_bytes >= _KIB**2 // 10 else (_KIB, "KiB")


def _words(num_bytes: int, total: int) -> str:
    """Returns a number of bytes in the unit of its total, and as exactly."""
    value, _ = _unit(total)
    return f"{num_bytes / value:{'.1f' if total < 100 * value else '.0f'}}"
