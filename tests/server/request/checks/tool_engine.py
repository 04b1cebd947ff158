"""An engine whose model calls tools and thinks, and calls of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tokenwire.generated.tokenwire.v1 import chat_pb2, sampling_pb2
from tokenwire.server.contract.constraint import ALL_KINDS
from tokenwire.server.contract.events import (
    ChoiceFinished,
    EngineEvent,
    Finished,
    FinishReason,
    Started,
    TextDelta,
)
from tokenwire.server.contract.prompts import ChatPrompt, Prompt, RenderedPrompt
from tokenwire.server.engines.answers.chat_features import ChatFeatures

from ...fronts import Failure, failure_of, start_front
from ...scripted_engine import ScriptedEngine, ScriptedLauncher

YES_OR_NO = sampling_pb2.Constraint(choice=sampling_pb2.Constraint.Choice(values=["yes", "no"]))

FEATURES = ChatFeatures("hermes", "think", "enable_thinking")


class ToolEngine(ScriptedEngine):
    """One whose model calls tools and thinks."""

    def __init__(self, *, constraints: tuple[str, ...] = ALL_KINDS) -> None:
        super().__init__(constraints=constraints, script=saying("yes", FinishReason.EOS))
        can = replace(self.info.capabilities, tools=True, reasoning=True, reasoning_switch=True)
        self.info = replace(self.info, capabilities=can)

    async def render(self, prompt: Prompt) -> RenderedPrompt:
        rendered = await super().render(prompt)
        assert isinstance(prompt, ChatPrompt)
        return replace(rendered, form=FEATURES.form(prompt, "<think>\n")[0])


def tool(name: str, schema: str = "") -> chat_pb2.Tool:
    return chat_pb2.Tool(name=name, parameters_schema=schema)


def choosing(**kind: Any) -> chat_pb2.ToolChoice:
    return chat_pb2.ToolChoice(**kind)


NONE, AUTO, REQUIRED = (
    choosing(mode=mode)
    for mode in (
        chat_pb2.ToolChoice.MODE_NONE,
        chat_pb2.ToolChoice.MODE_AUTO,
        chat_pb2.ToolChoice.MODE_REQUIRED,
    )
)


def saying(text: str, reason: FinishReason) -> Sequence[EngineEvent]:
    """Says a text in two parts."""
    half = len(text) // 2
    return (
        Started(0),
        TextDelta(text[:half], 1),
        TextDelta(text[half:], 1),
        ChoiceFinished(reason),
        Finished(2, 0),
    )


async def fail(**fields: Any) -> tuple[Failure, ToolEngine]:
    """Makes a call that must fail."""
    engine = ToolEngine()
    engine.allow(10)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        failure = await failure_of(client.inference.Chat(client.chat("go", **fields)))
    return failure, engine
