"""Times of one answer, on a clock that the test turns."""

from __future__ import annotations

import pytest
from tokenwire.load.faces.exchange import Exchange


class Clock:
    def __init__(self) -> None:
        self.now_s = 10.0

    def __call__(self) -> float:
        return self.now_s


def answered(*arrivals: tuple[float, int], due_s: float = 9.0, end_s: float = 15.0) -> Exchange:
    clock = Clock()
    exchange = Exchange(clock, due_s)
    for clock.now_s, count in arrivals:
        exchange.note_output(count)
    clock.now_s = end_s
    exchange.end()
    return exchange


def test_times_count_from_when_it_was_due() -> None:
    """A request that was sent late is not faster for it."""
    exchange = answered((11.0, 1), (12.0, 1))
    assert (exchange.intended_s, exchange.sent_s) == (9.0, 10.0)
    assert exchange.ttft_s == 2.0
    assert exchange.e2e_s == 6.0


def test_tokens_of_one_message_share_its_wait() -> None:
    """Two tokens that came together after 3 s are two waits of 1.5 s."""
    exchange = answered((11.0, 1), (12.0, 1), (15.0, 2))
    assert list(exchange.gaps_s()) == [1.0, 1.5, 1.5]
    assert exchange.num_output_tokens == 4
    assert exchange.tpot_s == pytest.approx(4 / 3)


def test_usage_wins_over_messages() -> None:
    """What the server says it generated is the number of tokens, also for the TPOT."""
    exchange = answered((11.0, 1), (13.0, 1))
    exchange.note_usage(3, 5)
    assert exchange.num_output_tokens == 5
    assert exchange.tpot_s == 0.5


def test_no_output_has_no_times() -> None:
    """An answer without output has neither TTFT nor TPOT; one token has no TPOT."""
    assert answered().ttft_s is None
    assert answered((11.0, 1)).tpot_s is None
