"""How far SGLang has come, read from what its schedulers publish beside their steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from .....contract.engine import StepCount

_MICROSECOND_S: Final = 1e-6


class StepCounter:
    """Counts looks at which SGLang had come further.

    `step_tokens` are the most prompt tokens of one step. The schedulers publish their load after a
    prompt's part at once, and after some steps of answers. What they generate comes back through
    the detokenizer: tokens that are counted there and never arrive are no step.
    """

    def __init__(self, step_tokens: int) -> None:
        self._step_tokens = step_tokens
        self._num_steps = 0
        self._published: object = None
        self._generated: object = None
        self._received: object = None

    def count(self, loads: Sequence[Any], received: object) -> StepCount:
        """Compares with the look before; `received` changes with everything that arrives.

        Any: SGLang has no types, and its older releases lack some fields.
        """
        # A scheduler without work goes on to publish that it has none.
        busy = [load for load in loads if load.num_running_reqs or load.num_waiting_reqs]
        published = [load.timestamp for load in busy]
        generated = [str(getattr(load, "decode_moments", None)) for load in loads]
        has_arrived = received != self._received
        has_stepped = bool(busy) and published != self._published
        has_generated = generated != self._generated
        if has_arrived or (has_stepped and not has_generated):
            self._num_steps += 1
        self._published, self._generated, self._received = published, generated, received
        return StepCount(self._num_steps, self._step_tokens * _seconds_per_token(loads))


def _seconds_per_token(loads: Sequence[Any]) -> float:
    num_tokens = sum(getattr(load, "total_prefill_uncached_tokens", 0) for load in loads)
    busy_us = sum(getattr(load, "total_prefill_busy_us", 0) for load in loads)
    return busy_us * _MICROSECOND_S / num_tokens if num_tokens else 0.0
