"""Tools and thinking with a real model, whose file gets a template that has both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from tokenwire.server.constraints.grammar import write_grammar
from tokenwire.server.contract.constraint import Constraint, ConstraintKind
from tokenwire.server.contract.engine import SamplingParams
from tokenwire.server.contract.engine_settings import EngineSettings, ModelFiles, ModelFormat
from tokenwire.server.contract.events import ChoiceFinished, FinishReason
from tokenwire.server.contract.prompts import ChatMessage, ChatPrompt, Role
from tokenwire.server.contract.tools import ToolCall, ToolChoice, ToolMode
from tokenwire.server.engines.llama_cpp.engine import LlamaCppEngine
from tokenwire.server.engines.llama_cpp.launcher import LlamaCppLauncher

from ..answers.asking import CLOCK, QUESTION, REQUIRED, WEATHER, ask, check_forced, params
from ..answers.templates import ALWAYS_THINKING, TOOLS_AND_THINKING
from ..generation import drain, request_for
from .launching import SMALL, launch

SETTINGS = replace(SMALL, max_model_len=768)


async def launch_with(
    template: str, path: Path, folder: Path, settings: EngineSettings = SETTINGS
) -> LlamaCppEngine:
    """Starts a model with another chat template, as that of a tokenizer beside its weights."""
    (folder / "chat_template.jinja").write_text(template)
    files = ModelFiles("some/model:file.gguf", ModelFormat.GGUF, path, tokenizer=folder)
    return await LlamaCppLauncher(files, settings).launch(lambda _: None)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def engine(
    gguf_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LlamaCppEngine]:
    folder = tmp_path_factory.mktemp("tools")
    launched = await launch_with(TOOLS_AND_THINKING, gguf_file, folder)
    yield launched
    await launched.close()


async def written(engine: LlamaCppEngine, prompt: ChatPrompt) -> str:
    """Returns a rendered conversation as text."""
    ids = (await engine.render(prompt)).token_ids.tolist()
    answer = await engine._client.post("/detokenize", {"tokens": ids})
    return str(answer["content"])


async def test_the_model_tells_what_it_can(engine: LlamaCppEngine, gguf_file: Path) -> None:
    """Capabilities and parsers follow the template; SmolLM2's own has neither."""
    can = engine.info.capabilities
    assert (can.tools, can.reasoning, can.reasoning_switch) == (True, True, True)
    assert (engine.info.tool_parser, engine.info.reasoning_parser) == ("hermes", "think")
    own = await launch(gguf_file)
    try:
        can = own.info.capabilities
        assert (can.tools, can.reasoning, can.reasoning_switch) == (False, False, False)
        assert (own.info.tool_parser, own.info.reasoning_parser) == ("", "")
    finally:
        await own.close()


async def test_calls_and_results_are_rendered(engine: LlamaCppEngine) -> None:
    """The template gets tools, earlier calls as objects, and their results."""
    messages = (
        QUESTION,
        ChatMessage(Role.ASSISTANT, "", (ToolCall("a", "get_weather", '{"city": "Rome"}'),)),
        ChatMessage(Role.TOOL, "sunny", tool_call_id="a"),
    )
    text = await written(engine, ChatPrompt(messages, tools=(WEATHER,), thinks=True))
    assert '"description": "Tells the weather of a city"' in text
    assert '{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>' in text
    assert "<tool_response>\nsunny\n</tool_response>" in text
    assert text.endswith("<|im_start|>assistant\n")


async def test_no_tools_are_shown_to_a_model_that_may_call_none(engine: LlamaCppEngine) -> None:
    """With NONE the prompt is that of a conversation without tools."""
    none = ChatPrompt((QUESTION,), tools=(WEATHER,), tool_choice=ToolChoice(ToolMode.NONE))
    assert await engine.render(none) == await engine.render(ChatPrompt((QUESTION,)))


async def test_thinking_is_switched(engine: LlamaCppEngine) -> None:
    """Off, the template writes an empty thought; on, it leaves the thought to the model."""
    off = await written(engine, ChatPrompt((QUESTION,), thinks=False))
    on = await written(engine, ChatPrompt((QUESTION,), thinks=True))
    assert off == f"{on}<think>\n\n</think>\n\n"


async def test_demanded_calls(engine: LlamaCppEngine) -> None:
    """REQUIRED gives calls of the tools and nothing else, as the schemas say."""
    prompt = ChatPrompt((QUESTION,), tools=(WEATHER, CLOCK), tool_choice=REQUIRED)
    for seed in range(3):
        answer, finished = await ask(engine, prompt, params(seed))
        check_forced(answer)
        assert finished.num_completion_tokens > 0


async def test_a_named_tool_is_called_once(engine: LlamaCppEngine) -> None:
    """A name leaves the model one call of that tool."""
    prompt = ChatPrompt(
        (QUESTION,),
        tools=(WEATHER, CLOCK),
        tool_choice=ToolChoice(ToolMode.REQUIRED, "clock"),
    )
    answer, _ = await ask(engine, prompt, params(1))
    [call] = answer.tool_calls
    assert (call.name, call.arguments) == ("clock", "{}")
    assert answer.finished == ChoiceFinished(FinishReason.TOOL_CALLS)


async def test_a_free_answer_is_text(engine: LlamaCppEngine) -> None:
    """A model that calls nothing and does not think just answers: no parser swallows it."""
    prompt = ChatPrompt((ChatMessage(Role.USER, "Say hello."),), tools=(WEATHER,), thinks=True)
    greedy = SamplingParams(temperature=0.0, top_p=1.0, max_tokens=24)
    answer, finished = await ask(engine, prompt, greedy)
    assert "hello" in answer.text.lower()
    assert (answer.reasoning, answer.tool_calls) == ("", [])
    assert finished.num_reasoning_tokens == 0


async def test_a_prompt_that_ends_within_a_thought(gguf_file: Path, tmp_path: Path) -> None:
    """What the model says is thinking until it ends the thought, and counted as such.

    Such a template cannot turn it off, and without tools in it none can be offered.
    """
    engine = await launch_with(ALWAYS_THINKING, gguf_file, tmp_path, SMALL)
    try:
        can = engine.info.capabilities
        assert (can.tools, can.reasoning, can.reasoning_switch) == (False, True, False)
        answer, finished = await ask(engine, ChatPrompt((QUESTION,)), params(2, max_tokens=8))
        assert answer.reasoning
        assert answer.text == ""
        assert 0 < finished.num_reasoning_tokens <= 8
        # Where the answer has a shape the thought is ended for it, and all is text.
        rendered = await engine.render(ChatPrompt((QUESTION,), answers_at_once=True))
        request = request_for(rendered, params(2))
        grammar = write_grammar(Constraint(ConstraintKind.CHOICE, ("<think>", "Oslo")))
        shaped = await drain(engine.generate(replace(request, constraint=grammar)))
        assert shaped.text in {"<think>", "Oslo"}
        assert shaped.end.reason is FinishReason.EOS
    finally:
        await engine.close()
