"""How a call ended."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tokenwire.server.contract.events import FinishReason
from tokenwire.server.request.calls import CallFinished

FINISHED = CallFinished(FinishReason.EOS, 1, 0, 5, 0, 0.0, 0.1, 0.1, 2.0)


@pytest.mark.parametrize(
    ("num_tokens", "decode_s", "speed"),
    [(5, 2.0, 2.0), (1, 2.0, 0.0), (0, 2.0, 0.0), (5, 0.0, 0.0)],
)
def test_speed_counts_the_tokens_after_the_first(
    num_tokens: int, decode_s: float, speed: float
) -> None:
    """The first token's time is prefill; without a second one there is no speed."""
    finished = replace(FINISHED, num_completion_tokens=num_tokens, decode_s=decode_s)
    assert finished.tokens_per_second == speed
