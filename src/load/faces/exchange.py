"""One request and its answer, as this client saw them."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an exchange failed; `kind` is the same for all that failed alike."""

    kind: str
    message: str


class Exchange:
    """Times are those of one clock, in seconds. `intended_s`: when the request was due."""

    __slots__ = (
        "_clock",
        "counts",
        "ended_s",
        "failure",
        "intended_s",
        "is_interrupted",
        "num_cached_tokens",
        "sent_s",
        "times",
        "told_output_tokens",
        "told_prompt_tokens",
    )

    def __init__(self, clock: Clock, intended_s: float) -> None:
        self._clock = clock
        self.intended_s = intended_s
        self.sent_s = clock()
        self.ended_s = self.sent_s
        # Arrays: a million times of a long measurement are one object for the garbage collector.
        self.times = array("d")
        self.counts = array("L")
        self.told_prompt_tokens: int | None = None
        self.told_output_tokens: int | None = None
        self.num_cached_tokens: int | None = None
        self.failure: Failure | None = None
        self.is_interrupted = False

    def note_output(self, num_tokens: int = 1) -> None:
        """Notes that output arrived now: a message with so many tokens in it."""
        self.times.append(self._clock())
        self.counts.append(num_tokens)

    def note_usage(
        self, prompt: int | None, output: int | None, num_cached: int | None = None
    ) -> None:
        """Notes what the server says that it read and generated."""
        self.told_prompt_tokens = prompt
        self.told_output_tokens = output
        self.num_cached_tokens = num_cached

    def end(self) -> None:
        """Notes that nothing more comes."""
        self.ended_s = self._clock()

    @property
    def is_whole(self) -> bool:
        """Whether the answer is there to its end."""
        return self.failure is None and not self.is_interrupted

    @property
    def num_output_tokens(self) -> int:
        """Tokens of the answer: as the server says, else those in the messages that came."""
        return sum(self.counts) if self.told_output_tokens is None else self.told_output_tokens

    @property
    def ttft_s(self) -> float | None:
        """From when the request was due to the first output; None: none came."""
        return self.times[0] - self.intended_s if self.times else None

    @property
    def e2e_s(self) -> float:
        """From when the request was due to the end of its answer."""
        return self.ended_s - self.intended_s

    @property
    def tpot_s(self) -> float | None:
        """From first output to last, by the tokens behind the first; None: fewer than two."""
        num_gaps = self.num_output_tokens - 1
        if num_gaps < 1 or not self.times:
            return None
        return (self.times[-1] - self.times[0]) / num_gaps

    def gaps_s(self) -> array[float]:
        """Returns the waits between output tokens; n tokens in one message wait an nth each."""
        gaps = array("d")
        for number in range(1, len(self.times)):
            count = self.counts[number]
            gap_s = (self.times[number] - self.times[number - 1]) / count
            gaps.extend([gap_s] * count)
        return gaps
