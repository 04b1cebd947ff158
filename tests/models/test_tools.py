"""Demanded calls are valid, every time, on both engines: SmolLM2 with a template that has tools."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tokenwire.server.contract.engine import Engine, SamplingParams
from tokenwire.server.contract.prompts import ChatMessage, ChatPrompt, Role
from tokenwire.server.contract.tools import ToolCall, ToolChoice, ToolMode

from ..server.engines.answers.asking import (
    CLOCK,
    QUESTION,
    REQUIRED,
    WEATHER,
    ask,
    check_forced,
    params,
)
from ..server.engines.answers.templates import TOOLS_AND_THINKING
from .templated import launch_small

NUM_CALLS = 50
NAMED = ToolChoice(ToolMode.REQUIRED, "get_weather")


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["llama.cpp", "sglang"])
async def engine(
    request: pytest.FixtureRequest,
    gguf_file: Path,
    small_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Engine]:
    """SmolLM2 with a template after Qwen 3's."""
    folder = tmp_path_factory.mktemp("tools")
    launched = await launch_small(
        request.param, TOOLS_AND_THINKING, folder, gguf_file=gguf_file, small_model=small_model
    )
    yield launched
    await launched.close()


async def test_the_model_tells_what_it_can(engine: Engine) -> None:
    """Capabilities and parsers follow the template."""
    can = engine.info.capabilities
    assert (can.tools, can.reasoning, can.reasoning_switch) == (True, True, True)
    assert (engine.info.tool_parser, engine.info.reasoning_parser) == ("hermes", "think")


@pytest.mark.parametrize("choice", [REQUIRED, NAMED], ids=["required", "named"])
async def test_demanded_calls(engine: Engine, choice: ToolChoice) -> None:
    """Fifty of fifty answers at temperature 1 are valid calls."""
    prompt = ChatPrompt((QUESTION,), tools=(WEATHER, CLOCK), tool_choice=choice)
    for first in range(0, NUM_CALLS, 2):
        answers = await asyncio.gather(
            *(ask(engine, prompt, params(first + offset)) for offset in range(2))
        )
        for answer, _ in answers:
            check_forced(answer)
            if choice is NAMED:
                [call] = answer.tool_calls
                assert call.name == NAMED.name


async def test_history_and_a_free_answer(engine: Engine) -> None:
    """Calls and results are rendered, and an answer without a call is text."""
    messages = (
        QUESTION,
        ChatMessage(Role.ASSISTANT, "", (ToolCall("a", "get_weather", '{"city": "Rome"}'),)),
        ChatMessage(Role.TOOL, "sunny", tool_call_id="a"),
        ChatMessage(Role.USER, "Say hello."),
    )
    greedy = SamplingParams(temperature=0.0, top_p=1.0, max_tokens=24)
    answer, finished = await ask(engine, ChatPrompt(messages, tools=(WEATHER,)), greedy)
    assert answer.text
    assert "<|" not in answer.text  # special tokens are kept for the parsers, but for the end's
    assert answer.tool_calls == []
    assert finished.num_completion_tokens > 0


async def test_thinking_is_switched(engine: Engine) -> None:
    """An empty thought stands in the prompt where thinking is off."""
    off = await engine.render(ChatPrompt((QUESTION,), thinks=False))
    on = await engine.render(ChatPrompt((QUESTION,), thinks=True))
    assert list(off.token_ids[: len(on.token_ids)]) == list(on.token_ids)
    assert len(off.token_ids) > len(on.token_ids)
