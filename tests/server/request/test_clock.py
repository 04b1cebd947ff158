"""When the tokens of a request came."""

from __future__ import annotations

from tokenwire.server.contract.events import TextDelta
from tokenwire.server.request.clock import Clock


def test_gaps_are_those_of_each_choice() -> None:
    """The first token of a choice has no gap, and tokens of others are not in between."""
    clock = Clock()
    for choice in (0, 1, 1, 0, 2, 0):
        clock.record(TextDelta("a", 1, choice=choice))
    assert sum(clock.token_gaps.counts) == 3
    times = clock.stop()
    assert times.first_token_s is not None
    assert times.last_token_s is not None
    assert times.first_token_s <= times.last_token_s
