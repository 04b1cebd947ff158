"""A stream comes to what one message would have told, on both engines and over both RPCs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tokenwire.generated.tokenwire.v1 import chat_pb2, events_pb2, inference_pb2
from tokenwire.server.contract.engine import Engine, EngineRequest
from tokenwire.server.contract.events import EngineEvent

from ..server.engines.answers.asking import CLOCK, WEATHER
from ..server.engines.answers.templates import TOOLS_AND_THINKING
from ..server.fronts import Client, start_front
from ..server.rpc.test_sender_events import deltas_of, joined, read
from ..system.services import Handover, Lent
from .templated import ENGINES, launch_small

NUM_SEEDS = 4
# As a model that always thinks has it, where the request asks for it.
BEGINS_THOUGHT = "{% if begins_thought %}<think>\n{% endif %}"
TOOLS = [
    chat_pb2.Tool(
        name=tool.name, description=tool.description, parameters_schema=tool.parameters_schema
    )
    for tool in (WEATHER, CLOCK)
]
REQUIRED = chat_pb2.ToolChoice(mode=chat_pb2.ToolChoice.MODE_REQUIRED)


class Repeating(Lent):
    """A real engine that says the same again to a request that was just made.

    Two generations need not be the same where no seed is honoured: one is told twice.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._prompt: Any = None
        self._events: list[EngineEvent] = []

    async def generate(self, request: EngineRequest) -> AsyncGenerator[EngineEvent]:
        """Generates, or repeats what it has kept."""
        if request.prompt == self._prompt:
            self._prompt = None
            for event in self._events:
                yield event
            return
        self._prompt, self._events = request.prompt, []
        async with aclosing(self._engine.generate(request)) as events:
            async for event in events:
                self._events.append(event)
                yield event


@dataclass(frozen=True, slots=True)
class Case:
    """What is asked, and what of it must be in the answer, so that it shows what it is for."""

    text: str
    shows: Callable[[events_pb2.Choice], bool]
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    max_tokens: int = 24
    fields: dict[str, Any] = field(default_factory=dict[str, Any])


def has_wide_characters(choice: events_pb2.Choice) -> bool:
    return not choice.text.isascii()


CONTINUED = {"continue_last_message": True}
TEXTS = {
    "cjk": Case("漢字漢字漢字漢字漢", has_wide_characters, ("字漢", "。"), 2),
    "emoji": Case("👩‍👩‍👧🇫🇷👩‍👩‍👧🇫🇷👩‍👩‍👧", has_wide_characters, ("\u200d👧", "🇫")),
    "combining": Case("e\u0301a\u0308e\u0301a\u0308e\u0301", has_wide_characters, ("\u0308",), 0),
    "stops": Case(
        "Once upon a time, in a small village by the sea,",
        lambda choice: bool(choice.text),
        (" the ", ", and", "\n", "e"),
        1,
    ),
}
CHATS = {
    name: Case(case.text, case.shows, case.stop, case.logprobs, fields=CONTINUED)
    for name, case in TEXTS.items()
} | {
    "tools": Case(
        "What is the weather in Rome?",
        lambda choice: bool(choice.tool_calls) and not choice.text,
        max_tokens=48,
        fields={"tools": TOOLS, "tool_choice": REQUIRED},
    ),
    "named tool": Case(
        "What time is it?",
        lambda choice: [call.name for call in choice.tool_calls] == ["clock"],
        fields={"tools": TOOLS, "tool_choice": chat_pb2.ToolChoice(name="clock")},
    ),
    "free": Case("Say hello.", lambda choice: bool(choice.text), fields={"tools": TOOLS}),
    "thinking": Case(
        "What is the weather in Rome?",
        lambda choice: bool(choice.reasoning),
        fields={
            "template_arguments": chat_pb2.TemplateArguments(values={"begins_thought": True}),
        },
    ),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=ENGINES)
async def client(
    request: pytest.FixtureRequest,
    gguf_file: Path,
    small_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Client]:
    """A front with SmolLM2, which has tools and thinking, and says everything twice."""
    template = TOOLS_AND_THINKING.removesuffix("{% endif %}") + BEGINS_THOUGHT + "{% endif %}"
    engine = await launch_small(
        request.param,
        template,
        tmp_path_factory.mktemp("twice"),
        gguf_file=gguf_file,
        small_model=small_model,
    )
    try:
        async with start_front(Handover(Repeating(engine)).prepare) as client:
            yield client
    finally:
        await engine.close()


@pytest.mark.parametrize("name", CHATS)
async def test_chat(client: Client, name: str) -> None:
    """Three choices of a conversation, with calls, thinking or text, at several seeds."""
    case = CHATS[name]
    request = client.chat("Go on." if case.fields is CONTINUED else case.text, **case.fields)
    if case.fields is CONTINUED:
        request.messages.add(role=chat_pb2.ROLE_ASSISTANT, content=[{"text": case.text}])
    await compare(client, client.inference.Chat, request, case)


@pytest.mark.parametrize("name", TEXTS)
async def test_generate(client: Client, name: str) -> None:
    """Three continuations of a text, cut at stop strings, at several seeds."""
    case = TEXTS[name]
    await compare(client, client.inference.Generate, client.prompt(case.text), case)


async def compare(
    client: Client,
    method: Any,
    request: inference_pb2.ChatRequest | inference_pb2.GenerateRequest,
    case: Case,
) -> None:
    """Asks for each generation as a stream and as one message, and compares all that is told."""
    request.sampling.temperature = 1
    request.sampling.n = 3
    request.sampling.max_tokens = case.max_tokens
    request.sampling.stop.extend(case.stop)
    if case.logprobs is not None:
        request.sampling.logprobs = case.logprobs
    has_seeds = next(iter(client.app.models)).engine.info.capabilities.seeds
    found: list[events_pb2.Choice] = []
    for seed in range(NUM_SEEDS):
        if has_seeds:
            request.sampling.seed = seed
        request.delivery = events_pb2.DELIVERY_DELTAS
        streamed = await read(method(request))
        request.delivery = events_pb2.DELIVERY_FINAL
        (final,) = await read(method(request))
        choices = list(final.finished.choices)
        assert choices == joined(deltas_of(streamed)), seed
        assert [choice.choice for choice in choices] == [0, 1, 2]
        assert final.finished.usage == streamed[-1].finished.usage
        found += choices
    assert any(map(case.shows, found)), found
