"""Tools and thinking beside constraints, and the schemas of demanded calls."""

from __future__ import annotations

import grpc
import pytest
from tokenwire.generated.tokenwire.v1 import chat_pb2
from tokenwire.server.contract.prompts import ChatPrompt

from ...fronts import collect, failure_of, start_front
from ...scripted_engine import ScriptedLauncher
from .tool_engine import AUTO, NONE, REQUIRED, YES_OR_NO, ToolEngine, choosing, fail, tool


@pytest.mark.parametrize("choice", [AUTO, REQUIRED, choosing(name="f")])
async def test_tools_that_may_be_called_are_refused_beside_it(choice: chat_pb2.ToolChoice) -> None:
    """A call would be no answer of the shape, so that one of the two has to go."""
    failure, engine = await fail(tools=[tool("f")], tool_choice=choice, constraint=YES_OR_NO)
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "constraint: goes together with no tools" in failure.message
    assert not engine.prompts


async def test_thinking_is_refused_beside_it() -> None:
    """A thought before the answer would be outside the shape."""
    thinking = chat_pb2.Reasoning(enabled=True)
    failure, engine = await fail(reasoning=thinking, constraint=YES_OR_NO)
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "reasoning.enabled: goes together with no constraint" in failure.message
    assert not engine.prompts


async def test_a_model_that_thinks_answers_at_once() -> None:
    """Thinking is off, all that the model says is text, and tools that it may not call stay."""
    engine = ToolEngine()
    engine.allow(10)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = client.chat("go", constraint=YES_OR_NO, tools=[tool("f")], tool_choice=NONE)
        answer = await collect(client.inference.Chat(request))
    assert answer.text == "yes"
    (prompt,) = engine.prompts
    assert isinstance(prompt, ChatPrompt)
    assert prompt.answers_at_once
    assert engine.requests[0].prompt.form is None


BAD_SCHEMA = '{"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}'


@pytest.mark.parametrize("choice", [REQUIRED, choosing(name="bad")])
async def test_bad_schema_of_a_demanded_call_is_refused(choice: chat_pb2.ToolChoice) -> None:
    """It is named by its field before anything is generated, with the place."""
    failure, engine = await fail(tools=[tool("f"), tool("bad", BAD_SCHEMA)], tool_choice=choice)
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "tools[1].parameters_schema: " in failure.message
    assert "/properties/a" in failure.message
    assert not engine.requests


@pytest.mark.parametrize("choice", [AUTO, NONE, choosing(name="f")])
async def test_schemas_that_nothing_follows_are_not_checked(choice: chat_pb2.ToolChoice) -> None:
    """The schema of a tool that must not be called is for the model to read alone."""
    engine = ToolEngine()
    engine.allow(10)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        tools = [tool("f"), tool("bad", BAD_SCHEMA)]
        await collect(client.inference.Chat(client.chat("go", tools=tools, tool_choice=choice)))
    assert len(engine.requests) == 1


async def test_schemas_that_are_too_much_together() -> None:
    """Each tool alone can be followed; no one of them is to blame."""
    values = ", ".join(f'"{number}"' for number in range(1_000))
    tools = [
        tool(f"f{number}", f'{{"type": "object", "properties": {{"a": {{"enum": [{values}]}}}}}}')
        for number in range(20)
    ]
    failure, engine = await fail(tools=tools, tool_choice=REQUIRED)
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.message.startswith("tools: ")
    assert not engine.requests


async def test_demanded_call_needs_an_engine_that_follows_schemas() -> None:
    """Without grammars nothing could demand a call."""
    engine = ToolEngine(constraints=())
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = client.chat("go", tools=[tool("f")], tool_choice=REQUIRED)
        failure = await failure_of(client.inference.Chat(request))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "tool_choice: " in failure.message
