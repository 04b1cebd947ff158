"""How far llama.cpp has come, read from its own series."""

from __future__ import annotations

import re
from typing import Final

from ....contract.engine import StepCount

_SERIES: Final = re.compile(r"^llamacpp:(\w+) (\S+)$", re.MULTILINE)
# Without the second one, steps that look at images are not counted.
_COUNTERS: Final = ("n_decode_total", "prompt_tokens_total")


def read_steps(page: str, batch_tokens: int) -> StepCount:
    """Finds the steps, and how long one of `batch_tokens` should take, in the page of metrics."""
    values = {name: float(value) for name, value in _SERIES.findall(page)}
    num_tokens = values.get("prompt_tokens_total", 0.0)
    seconds = values.get("prompt_seconds_total", 0.0)
    return StepCount(
        num_steps=int(sum(values.get(name, 0.0) for name in _COUNTERS)),
        longest_step_s=batch_tokens * seconds / num_tokens if num_tokens else 0.0,
    )
