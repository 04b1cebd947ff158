"""How models mark their thinking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ThinkingFormat:
    """Thinking stands between `begin` and `end`.

    `only_first`: only where the answer begins; later the marks are text. `noise` are marks that
    mean nothing to callers. `answer_begin` is what the prompt gets where the model must answer
    without thinking first: within a thought its end, otherwise nothing or the mark of an answer.
    """

    begin: str
    end: str
    only_first: bool = True
    noise: tuple[str, ...] = ()
    inner_marks: tuple[str, ...] = ()
    answer_begin: str = ""

    @property
    def marks(self) -> tuple[str, ...]:
        """Every mark that may be a special token of the model."""
        return (self.begin, self.end, *self.noise, *self.inner_marks)


THINKING_FORMATS: Final = {
    "think": ThinkingFormat("<think>", "</think>"),
    "mistral": ThinkingFormat("[THINK]", "[/THINK]"),
    "gpt-oss": ThinkingFormat(
        "<|channel|>analysis<|message|>",
        "<|end|>",
        only_first=False,
        noise=("<|start|>assistant", "<|channel|>final<|message|>"),
        inner_marks=("<|channel|>", "<|message|>", "<|start|>"),
        answer_begin="<|channel|>final<|message|>",
    ),
}
"""Every format by name: the names of `LLM_REASONING_PARSER`."""
