"""When the steps of a call came."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ..contract.events import ChoiceFinished, Delta, Finished, FinishReason
from .calls import CallFinished


@dataclass(slots=True)
class Clock:
    """When the steps of one call came, in seconds of the monotonic clock."""

    arrived_s: float
    slot_s: float
    queue_s: float
    first_token_s: float | None = None
    last_token_s: float | None = None

    def record(self, delta: Delta) -> None:
        """Takes the time of the tokens of a delta."""
        if isinstance(delta, ChoiceFinished):
            return
        self.last_token_s = time.monotonic()
        if self.first_token_s is None:
            self.first_token_s = self.last_token_s

    def summarize(
        self, finished: Finished, reason: FinishReason, num_prompt_tokens: int
    ) -> CallFinished:
        """Sums a call up whose generation has ended."""
        first_s, last_s = self.first_token_s, self.last_token_s
        return CallFinished(
            reason=reason,
            num_prompt_tokens=num_prompt_tokens,
            num_cached_prompt_tokens=finished.num_cached_prompt_tokens,
            num_completion_tokens=finished.num_completion_tokens,
            num_reasoning_tokens=finished.num_reasoning_tokens,
            queue_s=self.queue_s,
            ttft_s=None if first_s is None else first_s - self.arrived_s,
            prefill_s=None if first_s is None else first_s - self.slot_s,
            decode_s=0.0 if first_s is None or last_s is None else last_s - first_s,
        )
