"""Neighbouring deltas as one."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable

import pytest
from tokenwire.server.contract.events import (
    ChoiceFinished,
    FinishReason,
    PromptLogprobs,
    PromptTokenLogprob,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    Told,
    ToolCallDelta,
    TopLogprob,
)
from tokenwire.server.request.log.joined_deltas import join_deltas, num_bytes_of

from ...random_deltas import random_deltas, said

LOGPROB = TokenLogprob(1, -1.0, b"a")
PROMPT_TOKEN = PromptTokenLogprob(1, None, b"a")
END = ChoiceFinished(FinishReason.EOS)


@pytest.mark.parametrize(
    ("first", "second", "joined"),
    [
        (
            TextDelta("a", 1, (1,), (LOGPROB,), choice=2),
            TextDelta("b", 2, (2, 3), (LOGPROB, LOGPROB), choice=2),
            TextDelta("ab", 3, (1, 2, 3), (LOGPROB,) * 3, choice=2),
        ),
        (
            ReasoningDelta("a", 1, (1,), choice=1),
            ReasoningDelta("b", 2, (2, 3), choice=1),
            ReasoningDelta("ab", 3, (1, 2, 3), choice=1),
        ),
        (
            ToolCallDelta(4, "id", "name", "{", 1, choice=1),
            ToolCallDelta(4, "", "", "}", 2, choice=1),
            ToolCallDelta(4, "id", "name", "{}", 3, choice=1),
        ),
        (
            PromptLogprobs((PROMPT_TOKEN,)),
            PromptLogprobs((PROMPT_TOKEN, PROMPT_TOKEN)),
            PromptLogprobs((PROMPT_TOKEN,) * 3),
        ),
    ],
)
def test_neighbours_of_one_kind_are_joined(first: Told, second: Told, joined: Told) -> None:
    """What says more of the same thing is one delta, with everything that belongs to it."""
    assert join_deltas([first, second]) == [joined]


@pytest.mark.parametrize(
    "deltas",
    [
        [TextDelta("a", 1), TextDelta("b", 1, choice=1), TextDelta("c", 1)],
        [TextDelta("a", 1), ReasoningDelta("b", 1), TextDelta("c", 1)],
        [ToolCallDelta(0, "a", "f", "{"), ToolCallDelta(1, "b", "f", "{")],
        [END, ChoiceFinished(FinishReason.EOS, choice=1)],
        [PromptLogprobs((PROMPT_TOKEN,)), TextDelta("a", 1, logprobs=(LOGPROB,))],
        [],
    ],
)
def test_other_neighbours_stay(deltas: list[Told]) -> None:
    """Deltas of another choice, kind or tool call are not joined, and keep their order."""
    assert join_deltas(deltas) == deltas


def num_tokens_in(deltas: Iterable[Told]) -> int:
    without = (ChoiceFinished, PromptLogprobs)
    return sum(delta.num_tokens for delta in deltas if not isinstance(delta, without))


@pytest.mark.parametrize("seed", range(40))
def test_joining_loses_nothing(seed: int) -> None:
    """Joined or not, in parts or at once, deltas come to the same."""
    deltas = random_deltas(seed)
    joined = join_deltas(deltas)
    assert said(joined) == said(deltas)
    assert num_tokens_in(joined) == num_tokens_in(deltas)
    middle = len(deltas) // 2
    assert join_deltas(join_deltas(deltas[:middle]) + join_deltas(deltas[middle:])) == joined


@pytest.mark.parametrize(
    ("small", "large"),
    [
        (TextDelta("", 0), TextDelta("x" * 1000, 0)),
        (TextDelta("", 0), TextDelta("", 0, tuple(range(125)))),
        (TextDelta("", 0), TextDelta("", 0, (), (LOGPROB,) * 8)),
        (
            TextDelta("", 0, (), (LOGPROB,)),
            TextDelta("", 0, (), (TokenLogprob(1, -1.0, b"", (TopLogprob(2, -2.0, b""),) * 8),)),
        ),
        (ReasoningDelta("", 0), ReasoningDelta("x" * 1000, 0)),
        (ReasoningDelta("", 0), ReasoningDelta("", 0, tuple(range(125)))),
        (ToolCallDelta(0, "", "", ""), ToolCallDelta(0, "", "", "x" * 1000)),
        (PromptLogprobs(()), PromptLogprobs((PROMPT_TOKEN,) * 8)),
        (
            PromptLogprobs((PROMPT_TOKEN,)),
            PromptLogprobs((PromptTokenLogprob(1, -1.0, b"", (TopLogprob(2, -2.0, b""),) * 8),)),
        ),
    ],
)
def test_all_that_is_large_counts(small: Told, large: Told) -> None:
    """Whatever of a delta can be large counts for a log's bytes."""
    assert num_bytes_of(large) >= num_bytes_of(small) + 1000


@pytest.mark.parametrize(
    "make",
    [
        lambda number: TextDelta(f"token {number}", 1, (number,)),
        lambda number: TextDelta("🎈" * (100 + number % 2), 1),
        lambda number: ReasoningDelta("a", 100, tuple(range(number, number + 100))),
        lambda number: TextDelta("a", 1, (), (logprob(number),)),
        lambda number: ToolCallDelta(0, "", "", f"{number}" * 50),
        lambda number: PromptLogprobs((prompt_logprob(number),)),
    ],
)
def test_bytes_are_those_that_python_takes(make: Callable[[int], Told]) -> None:
    """The estimate is no less than nine tenths of what a thousand deltas take."""
    tracemalloc.start()
    try:
        deltas = [make(number) for number in range(1000, 2000)]
        num_traced, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(map(num_bytes_of, deltas)) > 0.9 * num_traced


def logprob(number: int) -> TokenLogprob:
    """A log-probability with those of twenty other tokens, none of them shared."""
    top = tuple(
        TopLogprob(number + place, -number / (3 + place), f"token {number} {place}".encode())
        for place in range(20)
    )
    return TokenLogprob(number, -number / 3, f"token {number}".encode(), top)


def prompt_logprob(number: int) -> PromptTokenLogprob:
    """The same of a token of a prompt."""
    said = logprob(number)
    return PromptTokenLogprob(said.token_id, said.logprob, said.text, said.top)


def test_every_delta_costs_something() -> None:
    """A delta that says nothing is kept at a cost, too: a bound in bytes is one in deltas."""
    assert num_bytes_of(END) > 0
    assert num_bytes_of(TextDelta("", 0)) > 0
