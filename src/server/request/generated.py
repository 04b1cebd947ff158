"""How far a generation is, for the case that it is cut short."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..contract.events import ChoiceFinished, Delta, Finished, FinishReason, ReasoningDelta


@dataclass(slots=True)
class Generated:
    """Counts what an engine has said so far, and knows which of `num_choices` have no end yet."""

    num_choices: int = 1
    has_started: bool = False
    num_tokens: int = 0
    num_cached_tokens: int = 0
    num_reasoning_tokens: int = 0
    ends: dict[int, ChoiceFinished] = field(default_factory=dict[int, ChoiceFinished])

    @property
    def reason(self) -> FinishReason:
        """Why the first choice ended."""
        return self.ends[0].reason

    @property
    def finished(self) -> Finished:
        """The end that the engine did not come to say."""
        return Finished(self.num_tokens, self.num_cached_tokens, self.num_reasoning_tokens)

    def start(self, num_cached_tokens: int | None) -> None:
        """Takes the start."""
        self.has_started = True
        self.num_cached_tokens = num_cached_tokens or 0

    def add(self, delta: Delta) -> None:
        """Counts a delta."""
        if isinstance(delta, ChoiceFinished):
            self.ends[delta.choice] = delta
            return
        self.num_tokens += delta.num_tokens
        if isinstance(delta, ReasoningDelta):
            self.num_reasoning_tokens += delta.num_tokens

    def end_open(self, reason: FinishReason) -> list[ChoiceFinished]:
        """Ends the choices that have no end yet."""
        ends = [
            ChoiceFinished(reason, choice=choice)
            for choice in range(self.num_choices)
            if choice not in self.ends
        ]
        for end in ends:
            self.add(end)
        return ends
