"""Whatever an engine says, each dialect's stream comes to what its whole answer has.

The engine says deltas of all kinds by chance: `tests/models/test_streamed_equals_final.py` does the
same with what real ones say.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec
import pytest
import pytest_asyncio
from tokenwire.server.contract.events import (
    Delta,
    EngineEvent,
    Finished,
    PromptLogprobs,
    PromptTokenLogprob,
    ReasoningDelta,
    Started,
    TextDelta,
)

from ..server.random_deltas import random_deltas
from ..server.scripted_engine import ScriptedEngine, ScriptedLauncher
from ..system.services import Service, start_service
from .dialects import DIALECTS, ask_stream, ask_whole

NUM_SEEDS = 3
ODD_TEXTS = (
    " ",
    "\n\n",
    "\u2028",
    "\u200d",
    "\ufe0f",
    "e\u0301",
    "\x00",
    "👩‍👩‍👧",
    "[DONE]",
    "data: ",
)


@dataclass(frozen=True, slots=True)
class Scripted:
    """A service, and its engine."""

    service: Service
    engine: ScriptedEngine


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scripted() -> AsyncIterator[Scripted]:
    engine = ScriptedEngine(max_running=4)
    async with start_service(ScriptedLauncher(engine).prepare) as service:
        yield Scripted(service, engine)


def script_of(seed: int, num_choices: int, *, has_logprobs: bool) -> list[EngineEvent]:
    """A generation by chance, with texts in it that need care."""
    chance = random.Random(seed)
    prompt = [
        PromptTokenLogprob(place, -place / 4 if place else None, chance.choice(ODD_TEXTS).encode())
        for place in range(chance.randint(1, 6))
    ]
    deltas = [_odd(delta, chance) for delta in random_deltas(seed, num_choices)]
    if not has_logprobs:
        deltas = [
            msgspec.structs.replace(delta, logprobs=()) if isinstance(delta, TextDelta) else delta
            for delta in deltas
        ]
    cut = chance.randint(0, len(prompt))
    pieces = [PromptLogprobs(tuple(part)) for part in (prompt[:cut], prompt[cut:]) if part]
    return [Started(0), *pieces, *deltas, Finished(40, 0, 6)]


def _odd(delta: Delta, chance: random.Random) -> Delta:
    if isinstance(delta, TextDelta | ReasoningDelta) and chance.random() < 0.5:
        return msgspec.structs.replace(delta, text=chance.choice(ODD_TEXTS))
    return delta


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_stream_comes_to_the_whole(scripted: Scripted, dialect: str) -> None:
    """Text, thinking, calls, log-probabilities, reasons and numbers of each choice."""
    asked = DIALECTS[dialect]
    sampling = {"n": 3} | (asked.logprobs(2) if asked.logprobs else {})
    if not asked.has_choices:
        sampling = {}
    elif asked.in_sampling:
        sampling["prompt_logprobs"] = 2
    texts: list[str] = []
    for seed in range(NUM_SEEDS):
        num_choices = 3 if asked.has_choices else 1
        has_logprobs = asked.logprobs is not None
        scripted.engine.script = script_of(seed, num_choices, has_logprobs=has_logprobs)
        scripted.engine.allow(2 * len(scripted.engine.script))
        body = {"model": scripted.service.client.model, **asked.question("go")}
        body |= {"sampling": sampling} if asked.in_sampling else sampling
        if asked.whole == "/v1/completions":
            body["echo"] = True
        http = scripted.service.http
        streamed = asked.of_stream(await ask_stream(http, asked.stream, body | asked.when_streamed))
        whole = asked.of_whole(await ask_whole(http, asked.whole, body | asked.when_whole))
        assert streamed == whole, seed
        assert len(whole) == num_choices
        texts += [said.text for said in whole.values()]
    assert any(texts)
