"""How long to wait before an engine that died is launched again."""

from __future__ import annotations

# Waits before the first, second, … restart of an engine that keeps dying.
_DELAYS_S = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0)
# An engine that served this long was healthy: its death counts as the first again.
_HEALTHY_AFTER_S = 60.0


class RestartBackoff:
    """Counts the deaths of one model's engines that follow each other closely."""

    def __init__(self) -> None:
        self.num_deaths = 0

    def next_delay_s(self, lived_s: float) -> float | None:
        """Counts a death after `lived_s` seconds of service; None: it is not to be tried again."""
        self.num_deaths = 1 if lived_s >= _HEALTHY_AFTER_S else self.num_deaths + 1
        return _DELAYS_S[self.num_deaths - 1] if self.num_deaths <= len(_DELAYS_S) else None
