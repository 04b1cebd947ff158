"""How long to wait before what died is started again."""

from __future__ import annotations

from collections.abc import Sequence

# What lived this long was healthy: its death counts as the first again.
_HEALTHY_AFTER_S = 60.0


class RestartBackoff:
    """Counts the deaths of one thing that follow each other closely.

    `delays_s` are the waits before its first, second, … restart:

        backoff = RestartBackoff(delays_s=(0.5, 1.0, 2.0))
        delay_s = backoff.next_delay_s(lived_s)  # after each death
    """

    def __init__(self, delays_s: Sequence[float]) -> None:
        self.num_deaths = 0
        self._delays_s = delays_s

    def next_delay_s(self, lived_s: float) -> float | None:
        """Counts a death after `lived_s` seconds of life; None: it is not to be tried again."""
        self.num_deaths = 1 if lived_s >= _HEALTHY_AFTER_S else self.num_deaths + 1
        within = self.num_deaths <= len(self._delays_s)
        return self._delays_s[self.num_deaths - 1] if within else None
