"""The time between output tokens."""

from __future__ import annotations

import random
from bisect import bisect_left

import pytest
from tokenwire.server.request.token_gaps import TOKEN_GAP_BOUNDS_S, TokenGaps


def one_by_one(gaps_s: list[float]) -> list[int]:
    """Counts as a histogram does: up to and with each bound."""
    counts = [0] * (len(TOKEN_GAP_BOUNDS_S) + 1)
    for gap_s in gaps_s:
        counts[bisect_left(TOKEN_GAP_BOUNDS_S, gap_s)] += 1
    return counts


@pytest.mark.parametrize("num_gaps", [0, 1, 255, 256, 1000])
def test_counts_are_those_of_a_histogram(num_gaps: int) -> None:
    """Each gap counts in its own bucket, however many there are."""
    rng = random.Random(num_gaps)
    drawn = [rng.choice([rng.expovariate(20), 0.01, 0.0, 99.0]) for _ in range(num_gaps)]
    gaps = TokenGaps()
    for gap_s in drawn:
        gaps.add(gap_s, 1)
    assert gaps.counts == one_by_one(drawn)
    assert gaps.sum_s == pytest.approx(sum(drawn))
    assert gaps.counts == one_by_one(drawn), "reading them twice counts none twice"


@pytest.mark.parametrize("bound", TOKEN_GAP_BOUNDS_S)
def test_a_bound_belongs_to_its_bucket(bound: float) -> None:
    """A gap of exactly a bound is counted up to it, alone and among others."""
    alone, shared = TokenGaps(), TokenGaps()
    alone.add(bound, 1)
    shared.add(bound * 4, 4)
    index = TOKEN_GAP_BOUNDS_S.index(bound)
    assert alone.counts[index] == 1
    assert shared.counts[index] == 4


def test_tokens_that_come_together_share_the_gap() -> None:
    """Four tokens after 0.04 s are four gaps of 0.01 s; a delta without tokens is no gap."""
    gaps = TokenGaps()
    gaps.add(0.04, 4)
    gaps.add(0.5, 0)
    assert gaps.counts == one_by_one([0.01] * 4)
    assert gaps.sum_s == 0.04
