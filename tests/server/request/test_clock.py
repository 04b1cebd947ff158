"""When the tokens of a request came."""

from __future__ import annotations

from tokenwire.server.contract.events import TextDelta
from tokenwire.server.request.clock import Clock


def test_gaps_are_those_of_each_choice() -> None:
    """The first token of a choice has no gap, and tokens of others are not in between."""
    clock = Clock()
    deltas = [TextDelta("a", 1, choice=choice) for choice in (0, 1, 1, 0, 2, 0)]
    clock.record(deltas[:4], (1.0, 2.0, 4.0, 8.0))
    clock.record(deltas[4:], (16.0, 32.0))
    assert sum(clock.token_gaps.counts) == 3
    assert clock.token_gaps.sum_s == (4.0 - 2.0) + (8.0 - 1.0) + (32.0 - 8.0)
    times = clock.stop()
    assert times.first_token_s == 1.0
    assert times.last_token_s == 32.0
