"""When the steps of a request came."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ..contract.events import Finished, FinishReason, Said
from .calls import CallFinished
from .token_gaps import TokenGaps


@dataclass(frozen=True, slots=True)
class Pause:
    """A time without an engine: from the loss of one to what the next one said first.

    Times in seconds of the monotonic clock. `ended_s` is None where no other engine went on.
    """

    began_s: float
    ended_s: float | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """When an ended request took its steps, in seconds of the monotonic clock.

    A step that never came is None: whoever began to render or to wait and has no end of it was
    refused or cancelled there. A request renders before it waits for its slots, or behind that
    where no engine was there to render it.
    """

    arrived_s: float
    render_began_s: float | None
    rendered_s: float | None
    queued_s: float | None
    admitted_s: float | None
    first_token_s: float | None
    last_token_s: float | None
    ended_s: float

    @property
    def prefill_began_s(self) -> float | None:
        """When the engine could begin: the prompt was rendered and the slots were held."""
        if self.rendered_s is None or self.admitted_s is None:
            return None
        return max(self.rendered_s, self.admitted_s)


@dataclass(slots=True)
class Clock:
    """Takes the time of the steps of one request as they come.

    `queue_s` is the wait for the slots, exactly 0 where there was none. `num_prompt_tokens` is None
    until the prompt is rendered.
    """

    arrived_s: float = field(default_factory=time.monotonic)
    render_began_s: float | None = None
    rendered_s: float | None = None
    num_prompt_tokens: int | None = None
    queued_s: float | None = None
    admitted_s: float | None = None
    queue_s: float = 0.0
    first_token_s: float | None = None
    last_token_s: float | None = None
    token_gaps: TokenGaps = field(default_factory=TokenGaps)
    last_token_of: dict[int, float] = field(default_factory=dict[int, float])  # each choice
    pauses: list[Pause] = field(default_factory=list[Pause])

    def begin_render(self) -> None:
        """Takes the time at which the prompt goes to be rendered."""
        self.render_began_s = time.monotonic()

    def end_render(self, num_prompt_tokens: int) -> None:
        """Takes the time at which the prompt is rendered, and its length."""
        self.rendered_s = time.monotonic()
        self.num_prompt_tokens = num_prompt_tokens

    def begin_wait(self) -> None:
        """Takes the time at which the request asks for its slots."""
        self.queued_s = time.monotonic()

    def end_wait(self, queue_s: float) -> None:
        """Takes the time at which the request holds its slots, after a wait of `queue_s`."""
        self.admitted_s = time.monotonic()
        self.queue_s = queue_s

    def begin_pause(self) -> None:
        """Takes the time at which the request lost its engine."""
        if not self.pauses or self.pauses[-1].ended_s is not None:
            self.pauses.append(Pause(time.monotonic()))

    def end_pause(self) -> None:
        """Takes the time at which another engine went on, where one was lost."""
        if self.pauses and self.pauses[-1].ended_s is None:
            self.pauses[-1] = replace(self.pauses[-1], ended_s=time.monotonic())

    def record(self, deltas: Iterable[Said], times_s: Iterable[float]) -> None:
        """Takes when deltas were told, in their order."""
        for delta, time_s in zip(deltas, times_s, strict=True):
            last_s = self.last_token_of.get(delta.choice)
            if last_s is not None:
                self.token_gaps.add(time_s - last_s, delta.num_tokens)
            elif self.first_token_s is None:
                self.first_token_s = time_s
            self.last_token_of[delta.choice] = self.last_token_s = time_s

    def stop(self) -> Timeline:
        """Returns all times, with now as the end."""
        return Timeline(
            arrived_s=self.arrived_s,
            render_began_s=self.render_began_s,
            rendered_s=self.rendered_s,
            queued_s=self.queued_s,
            admitted_s=self.admitted_s,
            first_token_s=self.first_token_s,
            last_token_s=self.last_token_s,
            ended_s=time.monotonic(),
        )

    def summarize(
        self, finished: Finished, reason: FinishReason, num_prompt_tokens: int
    ) -> CallFinished:
        """Sums a call up whose generation has ended."""
        times = self.stop()
        first_s, last_s, prefill_s = self.first_token_s, self.last_token_s, times.prefill_began_s
        return CallFinished(
            reason=reason,
            num_prompt_tokens=num_prompt_tokens,
            num_cached_prompt_tokens=finished.num_cached_prompt_tokens,
            num_completion_tokens=finished.num_completion_tokens,
            num_reasoning_tokens=finished.num_reasoning_tokens,
            queue_s=self.queue_s,
            ttft_s=None if first_s is None else first_s - self.arrived_s,
            prefill_s=None if first_s is None or prefill_s is None else first_s - prefill_s,
            decode_s=0.0 if first_s is None or last_s is None else last_s - first_s,
        )
