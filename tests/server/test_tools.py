"""Tools and thinking from a request to its answer, over a real socket."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from tokenwire.generated.tokenwire.v1 import chat_pb2, events_pb2, inference_pb2, sampling_pb2
from tokenwire.server.contract.engine_settings import ModelFiles, ModelFormat
from tokenwire.server.contract.events import (
    ChoiceFinished,
    EngineEvent,
    Finished,
    FinishReason,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
)
from tokenwire.server.contract.load_progress import ReportProgress
from tokenwire.server.contract.prompts import ChatPrompt
from tokenwire.server.contract.tools import Tool, ToolChoice, ToolMode
from tokenwire.server.engines.llama_cpp.launcher import LlamaCppLauncher
from tokenwire.server.models.model_state import PreparedModel

from .engines.answers.templates import TOOLS_AND_THINKING
from .engines.llama_cpp.launching import SMALL
from .fronts import failure_of, start_front
from .scripted_engine import ScriptedEngine, ScriptedLauncher

NOTHING = '{"type": "object", "properties": {}, "additionalProperties": false}'
ANSWER: tuple[EngineEvent, ...] = (
    Started(0),
    ReasoningDelta("Hm", 2),
    ReasoningDelta("m.", 1),
    TextDelta("So:", 1),
    ToolCallDelta(0, "call_1", "f", "", 4),
    ToolCallDelta(0, "", "", '{"x": 1}'),
    ToolCallDelta(1, "call_2", "g", "", 3),
    ToolCallDelta(1, "", "", "{}"),
    ChoiceFinished(FinishReason.TOOL_CALLS),
    Finished(12, 0, 3),
)


def able_engine() -> ScriptedEngine:
    """An engine whose model has tools and thinking, and answers with both."""
    engine = ScriptedEngine(script=ANSWER)
    can = replace(engine.info.capabilities, tools=True, reasoning=True, reasoning_switch=True)
    engine.info = replace(
        engine.info, capabilities=can, tool_parser="hermes", reasoning_parser="think"
    )
    engine.allow(100)
    return engine


def with_tools(request: inference_pb2.ChatRequest, **more: Any) -> inference_pb2.ChatRequest:
    tools = [chat_pb2.Tool(name=name, parameters_schema=NOTHING) for name in ("f", "g")]
    request.MergeFrom(inference_pb2.ChatRequest(tools=tools, **more))
    return request


async def all_of(call: Any) -> list[inference_pb2.ChatResponse]:
    return [event async for event in call]


async def test_request_and_answer() -> None:
    """Tools reach the engine as they are; its calls and thinking come out, in parts and whole."""
    engine = able_engine()
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        choice = chat_pb2.ToolChoice(name="g")
        request = with_tools(
            client.chat("go"), tool_choice=choice, reasoning=chat_pb2.Reasoning(enabled=True)
        )
        events = await all_of(client.inference.Chat(request))
        request.delivery = events_pb2.DELIVERY_FINAL
        (final,) = await all_of(client.inference.Chat(request))
    prompt = engine.prompts[0]
    assert isinstance(prompt, ChatPrompt)
    assert prompt.tools == (Tool("f", "", NOTHING), Tool("g", "", NOTHING))
    assert prompt.tool_choice == ToolChoice(ToolMode.REQUIRED, "g")
    assert prompt.thinks is True
    deltas = [delta for event in events for delta in event.deltas.deltas]
    reasoning = "".join(delta.reasoning.text for delta in deltas)
    calls = {0: ["", "", ""], 1: ["", "", ""]}
    for delta in deltas:
        if delta.WhichOneof("kind") == "tool_call":
            call = calls[delta.tool_call.index]
            call[0] += delta.tool_call.id
            call[1] += delta.tool_call.name
            call[2] += delta.tool_call.arguments
    assert calls == {0: ["call_1", "f", '{"x": 1}'], 1: ["call_2", "g", "{}"]}
    (whole,) = final.finished.choices
    assert (whole.reasoning, whole.text) == (reasoning, "So:") == ("Hmm.", "So:")
    told = {call.index: [call.id, call.name, call.arguments] for call in whole.tool_calls}
    assert told == calls
    assert whole.finished.finish_reason == events_pb2.FINISH_REASON_TOOL_CALLS
    assert final.finished.usage.num_reasoning_tokens == 3


@pytest.mark.parametrize("delivery", [events_pb2.DELIVERY_DELTAS, events_pb2.DELIVERY_FINAL])
async def test_hidden_thinking(delivery: events_pb2.Delivery) -> None:
    """Hidden thinking is nowhere in the answer, and in the usage all the same."""
    async with start_front(ScriptedLauncher(able_engine()).prepare) as client:
        request = client.chat("go")
        request.reasoning.hidden = True
        request.delivery = delivery
        events = await all_of(client.inference.Chat(request))
    assert b"Hm" not in b"".join(event.SerializeToString() for event in events)
    usage = events[-1].finished.usage
    assert (usage.num_completion_tokens, usage.num_reasoning_tokens) == (12, 3)


async def test_a_model_without_tools_refuses_them() -> None:
    """Tools are refused by the name of field and capability before the engine renders anything."""
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        tools = await failure_of(client.inference.Chat(with_tools(client.chat("go"))))
        request = client.chat("go")
        request.reasoning.hidden = True
        hidden = await failure_of(client.inference.Chat(request))
    assert tools.code is hidden.code is grpc.StatusCode.INVALID_ARGUMENT
    assert tools.fields == ["tools"]
    assert hidden.fields == ["reasoning.hidden"]
    assert engine.prompts == []


async def test_models_tell_what_they_can() -> None:
    """ListModels has the capabilities, and the parsers by name."""
    async with start_front(ScriptedLauncher(able_engine()).prepare) as client:
        answer = await client.inference.ListModels(inference_pb2.ListModelsRequest())
    (model,) = answer.models
    can = model.capabilities
    assert (can.tools, can.reasoning, can.reasoning_switch) == (True, True, True)
    assert (model.tool_parser, model.reasoning_parser) == ("hermes", "think")


async def test_streamed_equals_final(gguf_file: Path, tmp_path: Path) -> None:
    """A real model's calls, thinking and text are the same in deltas and whole, seed by seed."""
    (tmp_path / "chat_template.jinja").write_text(TOOLS_AND_THINKING)
    files = ModelFiles("some/model", ModelFormat.GGUF, gguf_file, tokenizer=tmp_path)
    # Without a prefix cache, so that the second answer is computed as the first was.
    settings = replace(SMALL, max_model_len=768, prefix_caching=False)
    launcher = LlamaCppLauncher(files, settings)

    async def prepare(model_id: str, report: ReportProgress) -> PreparedModel:  # noqa: ARG001
        return PreparedModel(launcher, "", ())

    async with start_front(prepare) as client:
        for seed in range(2):
            request = with_tools(client.chat("Tell me the time."))
            request.sampling.MergeFrom(
                sampling_pb2.Sampling(seed=seed, temperature=1.0, max_tokens=24)
            )
            if seed % 2:
                request.tool_choice.mode = chat_pb2.ToolChoice.MODE_REQUIRED
            streamed = whole_of(await all_of(client.inference.Chat(request)))
            request.delivery = events_pb2.DELIVERY_FINAL
            (final,) = await all_of(client.inference.Chat(request))
            (choice,) = final.finished.choices
            calls = [(call.name, call.arguments) for call in choice.tool_calls]
            assert streamed == (choice.reasoning, choice.text, calls)
            assert bool(calls) == bool(seed % 2)


def whole_of(events: list[inference_pb2.ChatResponse]) -> tuple[str, str, list[tuple[str, str]]]:
    """Puts thinking, text and calls of a stream together."""
    thinking = text = ""
    calls: dict[int, tuple[str, str]] = {}
    for delta in (delta for event in events for delta in event.deltas.deltas):
        thinking += delta.reasoning.text
        text += delta.text.text
        if delta.WhichOneof("kind") == "tool_call":
            name, arguments = calls.get(delta.tool_call.index, ("", ""))
            part = delta.tool_call
            calls[part.index] = (name + part.name, arguments + part.arguments)
    return thinking, text, [calls[index] for index in sorted(calls)]
