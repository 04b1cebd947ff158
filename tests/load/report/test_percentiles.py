from __future__ import annotations

import random
import statistics

import pytest
from tokenwire.load.report.percentiles import percentile, quantiles_of, spread_of


def test_percentiles_are_those_of_the_standard_library() -> None:
    """As `statistics.quantiles` finds them in a whole population."""
    values = [random.Random(1).expovariate(1) for _ in range(137)]
    spread = spread_of(values)
    assert spread is not None
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    found = (spread.p50, spread.p90, spread.p95, spread.p99)
    assert found == pytest.approx((cuts[49], cuts[89], cuts[94], cuts[98]))
    assert (spread.mean, spread.min, spread.max) == (
        pytest.approx(statistics.fmean(values)),
        min(values),
        max(values),
    )
    assert quantiles_of(values)[1:100] == pytest.approx(cuts)


def test_few_values() -> None:
    """One value is every percentile of itself; none have none."""
    spread = spread_of([3.0])
    assert spread is not None
    assert (spread.count, spread.mean, spread.p50, spread.p99) == (1, 3, 3, 3)
    assert spread_of([]) is None
    assert quantiles_of([]) == []
    assert percentile([1.0, 2.0], 0.25) == 1.25
