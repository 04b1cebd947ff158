"""A request at its end, as whoever counts, logs or traces it sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .calls import Call, CallFailed, CallOutcome, CallStarted
from .clock import Pause, Timeline
from .token_gaps import TokenGaps


@dataclass(frozen=True, slots=True)
class EndedRequest:
    """One request that has ended, well or not.

    `started` is None where no engine began it, and `num_prompt_tokens` where the prompt was not
    rendered. `num_completion_tokens` counts what was generated until the end, whatever that was.
    `pauses` are the times in which it had lost its engine.
    `num_resumes` counts how often a later call took it up until then.
    """

    call: Call
    outcome: CallOutcome
    timeline: Timeline
    num_prompt_tokens: int | None
    started: CallStarted | None
    num_completion_tokens: int
    token_gaps: TokenGaps = field(default_factory=TokenGaps)
    pauses: tuple[Pause, ...] = ()
    num_resumes: int = 0

    @property
    def num_continuations(self) -> int:
        """How often another engine went on with it."""
        return sum(pause.ended_s is not None for pause in self.pauses)

    @property
    def has_failed_to_go_on(self) -> bool:
        """Whether it got an error because no other engine went on with it."""
        is_waiting = bool(self.pauses) and self.pauses[-1].ended_s is None
        return is_waiting and isinstance(self.outcome, CallFailed)

    @property
    def duration_s(self) -> float:
        """Seconds from its arrival to its end."""
        return self.timeline.ended_s - self.timeline.arrived_s


Observer = Callable[[EndedRequest], None]
"""Is told of the end of every request, in the event loop: it must not take long."""
