from __future__ import annotations

import asyncio
from array import array

import pytest
from tokenwire.load.client_watch import ClientWatch
from tokenwire.load.report.result import Run
from tokenwire.load.report.summary import summarise

from .runs import SETTING, exchange, failed, measured, run_of


def test_rates_are_by_the_time_to_the_last_answer() -> None:
    """From the first request's time to the end of the last; failed ones bring no tokens."""
    run = run_of(
        [
            exchange(100, 101, 102, 103, usage=(8, 3)),
            exchange(100, 102, 104, usage=(8, 2)),
            failed(103, "HTTP 503"),
        ]
    )
    assert run.duration_s == 4
    assert (run.requests.whole, run.requests.failed) == (2, 1)
    assert (run.tokens.input, run.tokens.output, run.tokens.cached) == (16, 5, 8)
    throughput = run.throughput
    assert throughput.requests_per_s == 0.5
    assert throughput.output_tokens_per_s == 1.25
    assert throughput.input_tokens_per_s == 4


def test_times_are_over_all_answers() -> None:
    """ITL has every wait of every answer, TPOT one of each."""
    run = run_of([exchange(100, 101, 102, 104), exchange(100, 103, 104)])
    assert run.ttft_s is not None
    assert run.itl_s is not None
    assert run.tpot_s is not None
    assert run.e2e_s is not None
    assert (run.ttft_s.count, run.ttft_s.mean) == (2, 2)
    assert (run.itl_s.count, run.itl_s.max) == (3, 2)
    assert (run.tpot_s.count, run.tpot_s.mean) == (2, 1.25)
    assert run.e2e_s.p50 == 4


@pytest.mark.parametrize(
    ("told", "by"), [(2, ("usage", "usage")), (1, ("mixed", "mixed")), (0, ("fit", "messages"))]
)
def test_says_who_counted(told: int, by: tuple[str, str]) -> None:
    """The server, this client, or each of them some."""
    answers = [exchange(100, 101, 102, usage=(9, 7) if n < told else None) for n in range(2)]
    tokens = run_of(answers).tokens
    assert (tokens.input_counted_by, tokens.output_counted_by) == by
    assert tokens.input == 9 * told + 16 * (2 - told)
    assert tokens.output == 7 * told + 2 * (2 - told)


def test_goodput_needs_both_targets() -> None:
    """An answer counts where its first token and its TPOT are within them."""
    answers = [
        exchange(100, 101, 101.5),  # both
        exchange(100, 103, 103.5),  # its first token is late
        exchange(100, 101, 103),  # its second one is
        exchange(100),  # no token at all
    ]
    run = run_of(answers, target_ttft_s=2.0, target_itl_s=1.0)
    assert run.goodput is not None
    assert (run.goodput.met, run.goodput.share) == (1, 0.25)
    assert run.goodput.requests_per_s == pytest.approx(1 / 3.5)
    assert run_of(answers).goodput is None


def test_errors_are_counted_by_kind() -> None:
    """The most frequent first, each with the words of its first."""
    run = run_of([failed(100, "b", "one"), failed(100, "a"), failed(101, "b", "two")])
    assert [(e.kind, e.count, e.example) for e in run.errors] == [("b", 2, "one"), ("a", 1, "no")]


def test_timeline_adds_up() -> None:
    """Its buckets hold every token, as many as the server told; in flight is counted half-way."""
    run = run_of([exchange(100, 101, 102, usage=(1, 6)), exchange(101, 104)])
    timeline = run.timeline
    assert sum(timeline.output_tokens) == pytest.approx(7)
    middle = {
        round((n + 0.5) * timeline.bucket_s, 3): now for n, now in enumerate(timeline.in_flight)
    }
    assert (middle[0.05], middle[1.55], middle[2.55]) == (1, 2, 1)


def _watched(loop_cpu_s: float, *lags_s: float) -> Run:
    watch = ClientWatch()
    watch.wall_s, watch.cpu_s, watch.loop_cpu_s = 10.0, loop_cpu_s + 1, loop_cpu_s
    watch.lags_s = array("d", lags_s)
    return summarise(SETTING, measured(exchange(100, 101, 101.02, 101.04), watch=watch))


def test_client_that_was_the_bottleneck_says_so() -> None:
    """A busy loop and late turns are warned of; neither is one that was not."""
    assert _watched(2.0, 0.001, 0.002).client.warnings == []
    (busy,) = _watched(9.0, 0.001).client.warnings
    assert "its event loop used 90% of a CPU" in busy
    (late,) = _watched(2.0, 0.05).client.warnings
    assert "late by 50 ms" in late
    assert _watched(2.0, 0.05).client.cpu_share == pytest.approx(0.3)


async def test_watch_measures() -> None:
    """It sees the CPU of its block and the turns of the loop."""
    async with ClientWatch() as watch:
        while not watch.lags_s:  # noqa: ASYNC110 - it reports to nobody
            await asyncio.sleep(0)
    assert watch.wall_s > 0
    assert 0 < watch.loop_cpu_s <= watch.cpu_s
