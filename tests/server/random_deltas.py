"""Answers of several choices by chance, and what they come to, put together the simple way."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from tokenwire.server.contract.events import (
    ChoiceFinished,
    Delta,
    FinishReason,
    PromptLogprobs,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    Told,
    ToolCallDelta,
    TopLogprob,
)

ENDS: Final = (
    (FinishReason.STOP, "END"),
    (FinishReason.STOP, 7),
    (FinishReason.EOS, None),
    (FinishReason.LENGTH, None),
    (FinishReason.TIME_LIMIT, None),
    (FinishReason.TOOL_CALLS, None),
)


@dataclass
class Said:
    """All that one choice said. A tool call is its id, its name and its arguments, by index."""

    text: str = ""
    reasoning: str = ""
    tool_calls: dict[int, tuple[str, str, str]] = field(
        default_factory=dict[int, tuple[str, str, str]]
    )
    token_ids: list[int] = field(default_factory=list[int])
    logprobs: list[TokenLogprob] = field(default_factory=list[TokenLogprob])
    num_tokens: int = 0
    end: tuple[FinishReason, str | int | None] | None = None


def said(deltas: Iterable[Told]) -> dict[int, Said]:
    """What deltas come to, by choice; of the prompt they say nothing here."""
    choices: dict[int, Said] = {}
    for delta in deltas:
        assert not isinstance(delta, PromptLogprobs)
        choice = choices.setdefault(delta.choice, Said())
        match delta:
            case TextDelta():
                choice.text += delta.text
                choice.token_ids += delta.token_ids
                choice.logprobs += delta.logprobs
                choice.num_tokens += delta.num_tokens
            case ReasoningDelta():
                choice.reasoning += delta.text
                choice.token_ids += delta.token_ids
                choice.num_tokens += delta.num_tokens
            case ToolCallDelta():
                call_id, name, arguments = choice.tool_calls.get(delta.index, ("", "", ""))
                choice.tool_calls[delta.index] = (
                    call_id + delta.id,
                    name + delta.name,
                    arguments + delta.arguments,
                )
                choice.num_tokens += delta.num_tokens
            case ChoiceFinished():
                assert choice.end is None
                choice.end = (delta.reason, delta.matched)
    return choices


def random_deltas(seed: int, num_choices: int = 3) -> list[Delta]:
    """Deltas of all kinds, of several choices interleaved, each with an end."""
    chance = random.Random(seed)
    choices = [_random_choice(chance, choice) for choice in range(num_choices)]
    deltas: list[Delta] = []
    while choices:
        # A run of one choice, so that there is something to join.
        choice = chance.choice(choices)
        for _ in range(min(chance.randint(1, 6), len(choice))):
            deltas.append(choice.pop(0))
        choices = [left for left in choices if left]
    return deltas


def _random_choice(chance: random.Random, choice: int) -> list[Delta]:
    deltas: list[Delta] = []
    begun: set[int] = set()
    while chance.random() < 0.95:
        kind = chance.randrange(3)
        for _ in range(chance.randint(1, 4)):
            if kind == 0:
                deltas.append(_random_text(chance, choice))
            elif kind == 1:
                ids = _random_ids(chance)
                deltas.append(ReasoningDelta(_random_words(chance), len(ids), ids, choice))
            else:
                index = chance.randrange(len(begun) + 1)
                is_first = index not in begun
                begun.add(index)
                deltas.append(
                    ToolCallDelta(
                        index,
                        f"call-{choice}-{index}" if is_first else "",
                        f"tool-{index}" if is_first else "",
                        _random_words(chance),
                        chance.randint(0, 3),
                        choice,
                    )
                )
    reason, matched = chance.choice(ENDS)
    return [*deltas, ChoiceFinished(reason, matched, choice)]


def _random_text(chance: random.Random, choice: int) -> TextDelta:
    ids = _random_ids(chance)
    # Quarters and halves: floats of 32 bits, as they are sent, hold them as they are.
    logprobs = tuple(
        TokenLogprob(
            token_id,
            -0.25 * chance.randint(0, 40),
            chance.choice([b"so ", b"\xf0\x9f", b""]),
            tuple(
                TopLogprob(chance.randrange(100), -0.5 * place, b"top")
                for place in range(chance.randint(0, 2))
            ),
        )
        for token_id in ids
    )
    return TextDelta(_random_words(chance), len(ids), ids, logprobs, choice)


def _random_ids(chance: random.Random) -> tuple[int, ...]:
    return tuple(chance.randrange(100) for _ in range(chance.randint(0, 3)))


def _random_words(chance: random.Random) -> str:
    return "".join(
        chance.choice(["a", "ü", "🎈", " ", '{"'] * 2) for _ in range(chance.randint(0, 3))
    )
