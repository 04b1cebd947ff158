"""Prompts, requests and answers for the tests of engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import ClassVar
from uuid import uuid4

import pytest
from tokenwire.server.contract.engine import Engine, EngineRequest, SamplingParams
from tokenwire.server.contract.events import (
    ChoiceFinished,
    Delta,
    EngineEvent,
    Finished,
    Started,
    TextDelta,
)
from tokenwire.server.contract.prompts import (
    ChatMessage,
    ChatPrompt,
    Prompt,
    RenderedPrompt,
    Role,
    TextPrompt,
)
from tokenwire.server.contract.token_ids import TokenIds

MAX_MODEL_LEN = 1280
"""The context of the engines under test: a prefix of 1,000 tokens and something behind it."""

MAX_RUNNING = 16

HANG_S = 120.0
"""A guard against hangs: far above what any of these takes on a busy machine."""

GREEDY = SamplingParams(temperature=0.0, top_p=1.0, max_tokens=24)
RANDOM = SamplingParams(temperature=1.0, top_p=1.0, max_tokens=12, seed=1, ignore_eos=True)
PARIS = ChatPrompt(
    (
        ChatMessage(Role.SYSTEM, "You are a helpful assistant."),
        ChatMessage(Role.USER, "What is the capital of France?"),
    )
)
PARIS_ANSWER = "The capital of France is Paris."
STORY = TextPrompt("Once upon a time, in a small village by the sea,")
WORDS = (
    "apple", "river", "stone", "cloud", "table", "green", "music", "horse",
    "paper", "light", "dream", "chair", "bread", "water", "snake", "tiger",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """A generation that went to its end."""

    events: tuple[EngineEvent, ...]

    @property
    def deltas(self) -> tuple[TextDelta, ...]:
        return tuple(event for event in self.events if isinstance(event, TextDelta))

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas)

    @property
    def end(self) -> ChoiceFinished:
        (end,) = (event for event in self.events if isinstance(event, ChoiceFinished))
        return end

    @property
    def finished(self) -> Finished:
        last = self.events[-1]
        assert isinstance(last, Finished)
        return last


def assert_in_order(events: Sequence[EngineEvent]) -> None:
    """Every generation keeps the order that `contract/events.py` tells."""
    kinds = [type(event) for event in events]
    deltas = [event for event in events if isinstance(event, Delta)]
    assert kinds.count(Started) == 1
    assert kinds.index(Started) < events.index(deltas[0])
    assert kinds.count(Finished) == 1
    assert kinds[-1] is Finished
    for choice in {delta.choice for delta in deltas}:
        own = [isinstance(delta, ChoiceFinished) for delta in deltas if delta.choice == choice]
        assert own == [False] * (len(own) - 1) + [True]


def request_for(
    prompt: RenderedPrompt, params: SamplingParams = GREEDY, cache_salt: str = ""
) -> EngineRequest:
    return EngineRequest(uuid4().hex, prompt, params, cache_salt)


async def drain(events: AsyncIterator[EngineEvent]) -> Answer:
    async with asyncio.timeout(HANG_S):
        return Answer(tuple([event async for event in events]))


async def answer(
    engine: Engine, prompt: Prompt, params: SamplingParams = GREEDY, cache_salt: str = ""
) -> Answer:
    async with asyncio.timeout(HANG_S):
        rendered = await engine.render(prompt)
        async with aclosing(engine.generate(request_for(rendered, params, cache_salt))) as events:
            return await drain(events)


async def id_of(engine: Engine, text: str) -> int:
    """The id of a text that is one token."""
    return (await engine.render(TextPrompt(text))).token_ids[-1]


async def long_prompt(engine: Engine, num_tokens: int) -> RenderedPrompt:
    one = await id_of(engine, " and")
    return RenderedPrompt(TokenIds.of((one,) * num_tokens))


async def assert_idle(engine: Engine) -> None:
    async with asyncio.timeout(HANG_S):
        assert (await engine.status()).num_running == 0


class Contract:
    """A part of what every engine must do; `lacks` names what one cannot do, with the reason."""

    lacks: ClassVar[dict[str, str]] = {}

    def need(self, ability: str) -> None:
        if ability in self.lacks:
            pytest.skip(f"{ability}: {self.lacks[ability]}")
