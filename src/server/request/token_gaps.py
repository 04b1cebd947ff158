"""The time between the output tokens of one request."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

TOKEN_GAP_BOUNDS_S: Final = (
    *(0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075),
    *(0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0),
)
"""Upper bounds of the lengths that gaps are counted by; what is longer comes last."""


class TokenGaps:
    """Counts gaps by their length; `counts` are those up to each bound, the last above all.

    `sum_s` is all gaps together.
    """

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(TOKEN_GAP_BOUNDS_S) + 1)
        self.sum_s = 0.0

    def add(self, gap_s: float, num_tokens: int) -> None:
        """Takes the time since the token before; tokens that come together share it evenly."""
        if num_tokens:
            self.counts[bisect_left(TOKEN_GAP_BOUNDS_S, gap_s / num_tokens)] += num_tokens
            self.sum_s += gap_s
