"""A stream comes to what a whole answer would have told: both engines, RPCs and every dialect.

SGLang honours no seeds on a CPU, and beside other requests neither engine rounds the same way
twice. So each generation is a real one, at several seeds or by chance, and an engine that is asked
for the same again at once says what it said: what is compared is all that lies between engine and
caller.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf import json_format
from tokenwire.generated.tokenwire.v1 import chat_pb2, events_pb2, inference_pb2
from tokenwire.server.contract.engine import Engine, EngineRequest
from tokenwire.server.contract.events import EngineEvent

from ..edge.dialects import DIALECTS, Dialect, Json, Said, ask_stream, ask_whole
from ..server.engines.answers.asking import CLOCK, WEATHER
from ..server.engines.answers.templates import TOOLS_AND_THINKING
from ..server.fronts import Client
from ..server.rpc.test_sender_events import deltas_of, joined, read
from ..system.services import Handover, Lent, Service, start_service
from .templated import ENGINES, launch_small

NUM_SEEDS = 4
NUM_EDGE_SEEDS = 2
MAX_EDGE_TOKENS = 16
BIAS = 30.0
"""Makes the tokens of a text the likeliest in whatever order the model has them."""
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
async def service(
    request: pytest.FixtureRequest,
    gguf_file: Path,
    small_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Service]:
    """A service with SmolLM2, which has tools and thinking, and says everything twice."""
    template = TOOLS_AND_THINKING.removesuffix("{% endif %}") + BEGINS_THOUGHT + "{% endif %}"
    engine = await launch_small(
        request.param,
        template,
        tmp_path_factory.mktemp("twice"),
        gguf_file=gguf_file,
        small_model=small_model,
    )
    try:
        async with start_service(Handover(Repeating(engine)).prepare) as service:
            yield service
    finally:
        await engine.close()


@pytest.fixture
def client(service: Service) -> Client:
    """The front of it."""
    return service.client


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


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_text_in_a_dialect(service: Service, dialect: str, name: str) -> None:
    """Answers of many bytes a character, cut at stop strings, some with log-probabilities."""
    case = TEXTS[name]
    question = {"model": service.client.model, "text": case.text}
    tokens = await ask_whole(service.http, "/tokenwire/v1/tokenize", question)
    sampling = {"logit_bias": {str(token_id): BIAS for token_id in tokens["tokenIds"]}}
    asked = DIALECTS[dialect]
    found = await compare_edge(service, asked, case, asked.question(case.text), sampling)
    assert any(said.text for said in found)
    if case.shows is has_wide_characters:
        assert any(not said.text.isascii() for said in found), found


OPENAI_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": json.loads(tool.parameters_schema),
        },
    }
    for tool in (WEATHER, CLOCK)
]
OWN_TOOLS = [json_format.MessageToDict(tool) for tool in TOOLS]
SHAPES: dict[str, tuple[Json, Json, Callable[[Said], bool]]] = {
    "tools": (
        {"tools": OPENAI_TOOLS, "tool_choice": "required"},
        {"tools": OWN_TOOLS, "tool_choice": {"mode": "MODE_REQUIRED"}},
        lambda said: bool(said.calls) and not said.text,
    ),
    "named tool": (
        {
            "tools": OPENAI_TOOLS,
            "tool_choice": {"type": "function", "function": {"name": "clock"}},
        },
        {"tools": OWN_TOOLS, "tool_choice": {"name": "clock"}},
        lambda said: [call[1] for call in said.calls] == ["clock"],
    ),
    "free": ({"tools": OPENAI_TOOLS}, {"tools": OWN_TOOLS}, lambda said: bool(said.text)),
    "thinking": (
        {"chat_template_kwargs": {"begins_thought": True}},
        {"template_arguments": {"values": {"begins_thought": True}}},
        lambda said: bool(said.thinking),
    ),
}
"""What a conversation is asked with in OpenAI's dialect, in our own, and what it must show."""


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("dialect", ["openai chat", "tokenwire chat"])
async def test_calls_and_thinking_in_a_dialect(service: Service, dialect: str, name: str) -> None:
    """Three choices of a conversation, with calls, thinking or text."""
    openai, own, shows = SHAPES[name]
    asked = DIALECTS[dialect]
    case = replace(CHATS[name], stop=(), logprobs=None)
    body = asked.question(case.text) | (own if asked.in_sampling else openai)
    assert any(map(shows, await compare_edge(service, asked, case, body, {})))


async def test_prompt_that_is_scored(service: Service) -> None:
    """With `echo` and `logprobs` the prompt's come first, where the engine has them."""
    asked = DIALECTS["openai completions"]
    text = "Once upon a time"
    body = {"model": service.client.model, "prompt": text, "echo": True, "logprobs": 1, "n": 2}
    info = next(iter(service.client.app.models)).engine.info
    if not info.capabilities.prompt_logprobs:
        async with service.http.post(asked.whole, json=body) as response:
            assert response.status == 400
            error = (await response.json())["error"]
        assert error["param"] == "logprobs"
        assert info.engine in error["message"]
        return
    for max_tokens in (0, 1, 5):
        body["max_tokens"] = max_tokens
        streamed = asked.of_stream(await ask_stream(service.http, asked.stream, body | STREAMED))
        whole = asked.of_whole(await ask_whole(service.http, asked.whole, body))
        assert streamed == whole
        for said in whole.values():
            first, *others = said.logprobs
            assert first[1:] == [None, None, 0]
            assert all(value < 0 and token in top for token, value, top, _ in others)
            assert "".join(row[0] for row in said.logprobs).startswith(text)
            offsets = [row[3] for row in said.logprobs]
            lengths = [len(row[0]) for row in said.logprobs]
            assert offsets == [sum(lengths[:place]) for place in range(len(lengths))]
            assert said.text.startswith(text)
        if not max_tokens:
            assert [said.text for said in whole.values()] == [text, text]
    # As lm-evaluation-harness asks, which sums up what is behind its context and leaves out the
    # last one.
    question = {"model": service.client.model, "text": text}
    ids = (await ask_whole(service.http, "/tokenwire/v1/tokenize", question))["tokenIds"]
    body |= {"prompt": [ids, ids[:2]], "n": 1, "max_tokens": 1, "temperature": 0, "seed": 1234}
    scored = asked.of_whole(await ask_whole(service.http, asked.whole, body))
    assert [len(said.logprobs) for said in scored.values()] == [len(ids) + 1, 3]
    assert [row[:2] for row in scored[1].logprobs[:2]] == [
        [token, None if place == 0 else pytest.approx(value, abs=0.05)]
        for place, (token, value, *_) in enumerate(scored[0].logprobs[:2])
    ]


STREAMED = DIALECTS["openai completions"].when_streamed


async def compare_edge(
    service: Service, asked: Dialect, case: Case, question: Json, sampling: Json
) -> list[Said]:
    """Asks for each generation as a stream and as a whole, and compares all that is told."""
    has_seeds = next(iter(service.client.app.models)).engine.info.capabilities.seeds
    found: list[Said] = []
    for seed in range(NUM_EDGE_SEEDS):
        values: Json = {"temperature": 1, "max_tokens": MAX_EDGE_TOKENS} | sampling
        if asked.has_choices:
            values["n"] = 3
        if has_seeds:
            values["seed"] = seed
        if seed:  # not always: some answers begin with one
            values["stop"] = list(case.stop[:2])
        if case.logprobs is not None and asked.logprobs is not None:
            values |= asked.logprobs(case.logprobs)
        body = {"model": service.client.model, **question}
        body |= {"sampling": values} if asked.in_sampling else values
        events = await ask_stream(service.http, asked.stream, body | asked.when_streamed)
        streamed = asked.of_stream(events)
        whole = asked.of_whole(await ask_whole(service.http, asked.whole, body | asked.when_whole))
        assert streamed == whole, seed
        assert sorted(whole) == ([0, 1, 2] if asked.has_choices else [0])
        found += whole.values()
    return found
