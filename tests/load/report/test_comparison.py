from __future__ import annotations

from dataclasses import replace

import pytest
from tokenwire.load.report.comparison import Comparison, Ratio, compare
from tokenwire.load.report.result import LoadForm, Result, Run, WorkloadForm

from .runs import failed, run_of, steady


def ratio(comparison: Comparison, name: str) -> Ratio:
    return next(each for each in comparison.ratios if each.name == name)


def test_pairs_of_runs() -> None:
    """With several runs the ratio is the median of the pairs, between the least and the largest."""
    first = Result.of(*(steady(9, ttft_s, "a") for ttft_s in (1.0, 2.0, 4.0)))
    second = Result.of(*(steady(9, ttft_s, "b") for ttft_s in (2.0, 2.0, 2.0)))
    comparison = compare(first, second)
    assert (comparison.first, comparison.second, comparison.num_pairs) == ("a", "b", 3)
    ttft = ratio(comparison, "TTFT p50")
    assert (ttft.least, ttft.ratio, ttft.most) == pytest.approx((0.5, 1.0, 2.0))
    assert not ttft.is_more_better
    assert ratio(comparison, "output tokens").is_more_better


def test_pairs_have_one_seed() -> None:
    """A run that is missing on one side shifts no other: those of one seed belong together."""

    def run(seed: int, ttft_s: float) -> Run:
        return steady(5, ttft_s, workload=WorkloadForm(seed=seed))

    first = Result.of(run(1, 1.0), run(2, 8.0), run(3, 4.0))
    second = Result.of(run(3, 8.0), run(1, 2.0))
    comparison = compare(first, second)
    assert comparison.num_pairs == 2
    ttft = ratio(comparison, "TTFT p50")
    assert (ttft.least, ttft.most) == pytest.approx((2.0, 2.0))
    apart = compare(Result.of(run(1, 1.0)), Result.of(run(7, 3.0)))
    assert ratio(apart, "TTFT p50").ratio == pytest.approx(3.0)


def test_one_run_is_resampled() -> None:
    """With one run each, requests drawn again bound the ratio; where they cannot, nothing does."""
    comparison = compare(Result.of(steady(40, 1.0)), Result.of(steady(40, 3.0)))
    ttft = ratio(comparison, "TTFT p50")
    assert ttft.least is not None
    assert ttft.most is not None
    assert ttft.least < ttft.ratio < ttft.most
    assert ttft.ratio == pytest.approx(3)
    assert 2.5 < ttft.least < ttft.most < 3.5
    assert ratio(comparison, "output tokens").least is None
    again = compare(Result.of(steady(40, 1.0)), Result.of(steady(40, 3.0)))
    assert again == comparison


def test_what_may_not_be_compared_is_told() -> None:
    """Other loads, work, lengths and counts of runs, failures, interruptions and warnings."""
    one = steady(4, 1.0, "a")
    other = steady(
        4,
        1.0,
        "b",
        load=LoadForm("open", None, 3.0, "poisson"),
        workload=WorkloadForm(input="32", output="3"),
    )
    other = replace(
        other,
        is_partial=True,
        requests=replace(other.requests, failed=2),
        tokens=replace(other.tokens, input=2 * other.tokens.input),
        client=replace(other.client, warnings=["late"]),
    )
    said = compare(Result.of(one), Result.of(other, other)).differences
    for words in (
        "1 runs against 2: 1 of them are pairs",
        "load, mode, differs: closed against open",
        "load, rate, differs: None against 3.0",
        "work, input, differs: 16 against 32",
        "a mean prompt has 16.0 tokens against 32.0",
        "b: 4 requests failed",
        "b: a run was interrupted",
        "b: 2 of 2 runs warn of their client, the last that late",
    ):
        assert any(words in sentence for sentence in said), words
    assert not any("mean answer" in sentence for sentence in said)
    assert compare(Result.of(one), Result.of(one)).differences == []


def test_runs_without_answers_have_no_ratio() -> None:
    """Nothing is divided by what is not there."""
    nothing = run_of([failed(100, "x")])
    assert compare(Result.of(nothing), Result.of(steady(3, 1.0))).ratios == []
