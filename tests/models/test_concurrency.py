"""What a request answers does not depend on what else the engine has to do.

A batch of another size is summed in another order, so that two tokens of nearly the same
probability may swap. Answers are compared with those of the same request alone; where one differs,
the two tokens must be as good as equal to transformers in float32.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from tokenwire.generated.tokenwire.v1 import inference_pb2

from ..conftest import MODEL_ID
from ..server.fronts import Client
from .conftest import run_python
from .gaps import Parting
from .mixed_requests import MixedRequest, mixed_requests
from .results import Results
from .serving import HANG_S, Streamed, serve, stream

MAX_RUNNING = 16
NUM_BYSTANDERS = 8
# In nats, see docs/models.md. SGLang computes in float32 here; llama.cpp in float16, its KV cache
# included.
MAX_GAP = {"sglang": 0.001, "llamacpp": 0.05}


@dataclass(frozen=True, slots=True)
class Served:
    """SmolLM2 on one engine."""

    engine: str
    client: Client


@dataclass(frozen=True, slots=True)
class Comparison:
    """The answers to the same requests, one at a time and all at once."""

    engine: str
    requests: list[MixedRequest]
    alone: list[Streamed]
    together: list[Streamed]

    @property
    def partings(self) -> list[Parting]:
        """The requests that were answered differently."""
        return [
            Parting(request, (one.token_ids, other.token_ids), (one.text, other.text))
            for request, one, other in zip(self.requests, self.alone, self.together, strict=True)
            if one.text != other.text
        ]


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["sglang", "llamacpp"])
async def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    """A front that lets sixteen run at once, so that others wait."""
    engine = str(request.param)
    async with serve(
        MODEL_ID,
        tmp_path_factory.mktemp("nothing"),
        LLM_ENGINE=engine,
        LLM_MAX_CONCURRENT_REQUESTS=str(MAX_RUNNING),
        LLM_QUEUE_TIMEOUT_MS="600000",
    ) as client:
        yield Served(engine, client)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def comparison(served: Served) -> Comparison:
    """One at a time with nothing cached, then all at once among clients that leave."""
    requests = mixed_requests()
    alone = [
        await _ask(served, request, f"alone-{number}") for number, request in enumerate(requests)
    ]
    async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as tasks:
        for number in range(NUM_BYSTANDERS):
            tasks.create_task(_leave_early(served, requests[number], random.Random(number)))
        together = [tasks.create_task(_ask(served, request, "together")) for request in requests]
    return Comparison(served.engine, requests, alone, [task.result() for task in together])


async def _ask(served: Served, request: MixedRequest, salt: str) -> Streamed:
    has_ids = served.engine == "sglang"
    return await stream(
        served.client, request.to_proto(served.client.model, salt, return_token_ids=has_ids)
    )


async def _leave_early(served: Served, request: MixedRequest, chance: random.Random) -> None:
    """Reads a few messages and hangs up, somewhere between the queue and the last token."""
    client = served.client
    message = request.to_proto(client.model, "together", return_token_ids=False)
    is_chat = isinstance(message, inference_pb2.ChatRequest)
    call = (client.inference.Chat if is_chat else client.inference.Generate)(message)
    for _ in range(chance.randrange(12)):
        if await call.read() is grpc.aio.EOF:
            break
    call.cancel()


def test_mixture() -> None:
    """The requests are thirty-two different ones of every kind."""
    requests = mixed_requests()
    assert len({repr(request) for request in requests}) == 32
    assert len({request.max_tokens for request in requests}) > 8
    for kind in ("text", "messages", "token_ids", "stop"):
        assert sum(bool(getattr(request, kind)) for request in requests) >= 4
    assert sum(len(request.text) > 2000 for request in requests) == 4


async def test_same_answers_together(
    comparison: Comparison, small_model: Path, results: Results
) -> None:
    """Among others a request answers as alone; where not, two tokens were as good as equal."""
    partings = comparison.partings
    gaps: list[tuple[int, float]] = []
    if partings:
        asked = json.dumps([asdict(parting) for parting in partings])
        gaps = json.loads(await run_python("gaps", str(small_model), stdin=asked))
    num_equal = len(comparison.requests) - len(gaps)
    told = f"{num_equal} of {len(comparison.requests)} answers equal"
    if gaps:
        apart = max(gap for _, gap in gaps)
        told += f"; the rest part at two tokens at most {apart:.4f} nats apart"
    results.figures[f"concurrency_{comparison.engine}"] = told
    assert all(gap <= MAX_GAP[comparison.engine] for _, gap in gaps), gaps


async def test_ends_as_alone(comparison: Comparison) -> None:
    """An answer with the same text also has the same number of tokens."""
    differing = {id(request) for request in (part.request for part in comparison.partings)}
    for request, one, other in zip(
        comparison.requests, comparison.alone, comparison.together, strict=True
    ):
        if id(request) not in differing:
            assert one.num_completion_tokens == other.num_completion_tokens
            assert one.num_prompt_tokens == other.num_prompt_tokens


async def test_nothing_is_cached_alone(comparison: Comparison) -> None:
    """The answers that the others are compared with owe nothing to a cache."""
    assert all(answer.num_cached_tokens == 0 for answer in comparison.alone)


async def test_beginnings_are_shared(comparison: Comparison) -> None:
    """Together, a prompt takes the 600 tokens that it shares with an earlier one from the cache."""
    if comparison.engine == "llamacpp":
        pytest.skip("its cache lies in slots, and whether the right one is free is chance")
    cached = [answer.num_cached_tokens for answer in comparison.together]
    assert sum(num_tokens >= 400 for num_tokens in cached) >= 1


async def test_nothing_is_left_over(served: Served, comparison: Comparison) -> None:
    """When all have their answers and the others have left, the engine is idle."""
    assert comparison.together
    engine = next(iter(served.client.app.models)).engine
    async with asyncio.timeout(HANG_S):
        while (await engine.status()).num_running:  # noqa: ASYNC110 - it tells no other way
            await asyncio.sleep(0.1)
