"""SmolLM2 keeps to random constraints on both engines, and bad ones cost nobody time."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator
from typing import Any

import grpc
import jsonschema
import pytest
import pytest_asyncio
from tokenwire.generated.tokenwire.v1 import events_pb2, inference_pb2, sampling_pb2

from ..conftest import MODEL_ID
from ..server.constraints.bad_constraints import BAD
from ..server.fronts import CHAT, Client, failure_of, start_front
from .random_schemas import random_schema

NUM_SCHEMAS = 200
NUM_OTHERS = 100
NUM_AT_ONCE = 8
MAX_TOKENS = 900
REFUSED_WITHIN_S = 2.0


@pytest_asyncio.fixture(
    scope="module", loop_scope="session", params=["llamacpp", "sglang"], ids=str
)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """A front with the small model on one engine; SGLang takes half a minute to start."""
    async with start_front(
        LLM_ALLOWED_MODELS=MODEL_ID,
        LLM_ENGINE=request.param,
        LLM_DEVICE="cpu",
        LLM_MAX_MODEL_LEN="1024",
        LLM_MAX_CONCURRENT_REQUESTS=str(NUM_AT_ONCE),
        LLM_NUM_THREADS="2",
    ) as client:
        yield client


async def test_json_schemas(client: Client) -> None:
    """Every answer to a random schema parses, and the schema describes it."""
    schemas = [random_schema(random.Random(seed)) for seed in range(NUM_SCHEMAS)]
    constraints = [sampling_pb2.Constraint(json_schema=json.dumps(schema)) for schema in schemas]
    answers = await ask_all(client, constraints, "Write some JSON.")
    for schema, choice in zip(schemas, answers, strict=True):
        assert_whole(choice)
        jsonschema.validate(json.loads(choice.text), schema)


async def test_regular_expressions(client: Client) -> None:
    """Every answer to a random expression is matched as a whole."""
    expressions = [random_expression(random.Random(seed)) for seed in range(NUM_OTHERS)]
    constraints = [sampling_pb2.Constraint(regex=expression) for expression in expressions]
    answers = await ask_all(client, constraints, "Say something.")
    for expression, choice in zip(expressions, answers, strict=True):
        assert_whole(choice)
        assert re.fullmatch(expression, choice.text, re.ASCII), (expression, choice.text)


async def test_choices(client: Client) -> None:
    """Every answer is one of its choices."""
    sets = [random_choices(random.Random(seed)) for seed in range(NUM_OTHERS)]
    constraints = [
        sampling_pb2.Constraint(choice=sampling_pb2.Constraint.Choice(values=values))
        for values in sets
    ]
    for values, choice in zip(sets, await ask_all(client, constraints, "Which one?"), strict=True):
        assert_whole(choice)
        assert choice.text in values


async def test_cut_off(client: Client) -> None:
    """An answer that its limit of tokens cuts off is told as incomplete."""
    (choice,) = await ask_all(
        client, [sampling_pb2.Constraint(regex="[a-z]{200}")], "Say something.", max_tokens=5
    )
    assert choice.finished.finish_reason == events_pb2.FINISH_REASON_LENGTH
    assert choice.finished.constraint_incomplete


async def test_bad_ones_beside_a_stream(client: Client) -> None:
    """Each bad constraint is refused within 2 s, while a neighbour's stream goes on."""
    came = asyncio.Event()

    async def read(call: Any) -> None:
        async for _ in call:
            came.set()

    for name, constraint, part in BAD:
        request = client.chat("Count to a thousand.")
        request.sampling.max_tokens = 500
        request.sampling.ignore_eos = True
        neighbour = client.inference.Chat(request)
        reading = asyncio.create_task(read(neighbour))
        asked = sampling_pb2.Constraint(**{constraint.kind.value: constraint.texts[0]})
        async with asyncio.timeout(REFUSED_WITHIN_S):
            call = client.inference.Chat(client.chat("go", constraint=asked))
            failure = await failure_of(call)
        assert failure.code is grpc.StatusCode.INVALID_ARGUMENT, name
        assert part in failure.message, name
        came.clear()
        await came.wait()
        neighbour.cancel()
        await asyncio.wait({reading})


async def ask_all(
    client: Client,
    constraints: list[sampling_pb2.Constraint],
    text: str,
    max_tokens: int = MAX_TOKENS,
) -> list[events_pb2.Choice]:
    """Asks for an answer to each, some at once, at a temperature of 1."""
    free = asyncio.Semaphore(NUM_AT_ONCE)

    async def ask(constraint: sampling_pb2.Constraint) -> events_pb2.Choice:
        request = client.chat(text, constraint=constraint, delivery=events_pb2.DELIVERY_FINAL)
        request.sampling.temperature = 1
        request.sampling.max_tokens = max_tokens
        async with free:
            response: inference_pb2.ChatResponse = await client.unary(CHAT)(request)
        (choice,) = response.finished.choices
        return choice

    return list(await asyncio.gather(*map(ask, constraints)))


def assert_whole(choice: events_pb2.Choice) -> None:
    assert choice.finished.finish_reason == events_pb2.FINISH_REASON_EOS, choice.text
    assert not choice.finished.constraint_incomplete


def random_expression(chance: random.Random) -> str:
    parts = (
        "[a-z]{1,4}",
        "\\d{2}",
        "(yes|no)",
        "[^/\\s]",
        "é?",
        "\\.",
        "/",
        "(ab){0,2}",
        "[A-F]+?",
    )
    return "".join(chance.choice(parts[:8]) for _ in range(chance.randint(1, 6)))


def random_choices(chance: random.Random) -> list[str]:
    letters = 'abc é"\\\n日😀|<>'
    return [
        "".join(chance.choice(letters) for _ in range(chance.randint(1, 6))).strip() or "none"
        for _ in range(chance.randint(1, 5))
    ]
