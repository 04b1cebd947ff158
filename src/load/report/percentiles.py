"""How many values are spread: a few percentiles and the mean."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_NUM_QUANTILES = 100


@dataclass(frozen=True, slots=True)
class Spread:
    """Of at least one value. Percentiles lie between neighbours in proportion, as numpy's do."""

    count: int
    mean: float
    min: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float


def percentile(ordered: Sequence[float], share: float) -> float:
    """Returns the value below which `share` of `ordered` lies; share in [0, 1], not empty."""
    place = (len(ordered) - 1) * share
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def spread_of(values: Iterable[float]) -> Spread | None:
    """Returns how the values are spread; None: there are none."""
    ordered = sorted(values)
    if not ordered:
        return None
    p50, p90, p95, p99 = (percentile(ordered, share) for share in (0.5, 0.9, 0.95, 0.99))
    mean = math.fsum(ordered) / len(ordered)
    return Spread(len(ordered), mean, ordered[0], p50, p90, p95, p99, ordered[-1])


def quantiles_of(values: Iterable[float]) -> list[float]:
    """Returns the percentiles 0, 1, 2 to 100, for a curve; empty where there are no values."""
    ordered = sorted(values)
    if not ordered:
        return []
    return [percentile(ordered, number / _NUM_QUANTILES) for number in range(_NUM_QUANTILES + 1)]
