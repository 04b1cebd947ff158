"""Questions to real models with tools, and what their answers must be."""

from __future__ import annotations

import json

from tokenwire.server.contract.engine import Engine, SamplingParams
from tokenwire.server.contract.events import (
    Delta,
    EngineEvent,
    Finished,
    FinishReason,
    Prefill,
    Started,
)
from tokenwire.server.contract.prompts import ChatMessage, Prompt, Role
from tokenwire.server.contract.tools import Tool, ToolChoice, ToolMode
from tokenwire.server.request.answer import ChoiceAnswer, collect_answer

from ..generation import request_for

CITIES = ("Paris", "Rome", "Oslo")
WEATHER = Tool(
    "get_weather",
    "Tells the weather of a city",
    json.dumps(
        {
            "type": "object",
            "properties": {"city": {"$ref": "#/$defs/city"}, "days": {"type": "integer"}},
            "required": ["city"],
            "additionalProperties": False,
            "$defs": {"city": {"enum": CITIES}},
        }
    ),
)
CLOCK = Tool("clock", "", '{"type": "object", "properties": {}, "additionalProperties": false}')
QUESTION = ChatMessage(Role.USER, "What is the weather in Rome?")
REQUIRED = ToolChoice(ToolMode.REQUIRED)


async def ask(
    engine: Engine, prompt: Prompt, params: SamplingParams
) -> tuple[ChoiceAnswer, Finished]:
    """Puts an answer together, as delivery FINAL does."""
    events: list[EngineEvent] = []
    async for event in engine.generate(request_for(await engine.render(prompt), params)):
        events.append(event)
    deltas: list[Delta] = [
        event for event in events if not isinstance(event, (Prefill, Started, Finished))
    ]
    assert isinstance(events[-1], Finished)
    return collect_answer(deltas).choices[0], events[-1]


def params(seed: int, max_tokens: int = 64) -> SamplingParams:
    return SamplingParams(temperature=1.0, top_p=1.0, max_tokens=max_tokens, seed=seed)


def check_forced(answer: ChoiceAnswer) -> None:
    """A demanded answer is calls of the tools alone, as their schemas say."""
    assert answer.text == answer.reasoning == ""
    assert answer.finished is not None
    # A small model may list calls without an end: those that are whole count.
    assert answer.finished.reason in (FinishReason.TOOL_CALLS, FinishReason.LENGTH)
    assert answer.tool_calls
    for index, call in enumerate(answer.tool_calls):
        assert call.index == index
        arguments = json.loads(call.arguments)
        if call.name == "clock":
            assert arguments == {}
        else:
            assert call.name == "get_weather"
            assert arguments["city"] in CITIES
            assert set(arguments) <= {"city", "days"}
            assert isinstance(arguments.get("days", 0), int)
