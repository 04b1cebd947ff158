"""SGLang on a CPU loads every architecture it can, and answers as transformers does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import cast

import pytest
import pytest_asyncio
from tokenwire.generated.tokenwire.v1 import inference_pb2

from ..server.fronts import Client
from .architectures import ARCHITECTURES, Architecture
from .checkpoints import MESSAGES, NUM_TOKENS, PROMPTS, Reference
from .conftest import TinyModels
from .divergence import compare_ids, describe
from .results import Results
from .serving import greedy, greedy_chat, serve, stream
from .shapes import VOCAB_SIZE

# Both compute in float32, in another order. Two tokens further apart than this cannot swap.
MAX_GAP = 0.001
RUNNING = [architecture for architecture in ARCHITECTURES if not architecture.cpu_obstacle]


@dataclass(frozen=True, slots=True)
class Served:
    """One architecture behind a front of its own."""

    architecture: Architecture
    client: Client
    references: list[Reference]


@pytest_asyncio.fixture(
    scope="module", loop_scope="session", params=RUNNING, ids=lambda value: value.name
)
async def served(request: pytest.FixtureRequest, tiny_models: TinyModels) -> AsyncIterator[Served]:
    """A front that finds the checkpoint under LLM_MODEL_PATH; 30 to 50 s, mostly imports."""
    architecture = cast("Architecture", request.param)
    async with serve(architecture.model_id, tiny_models.root) as client:
        yield Served(architecture, client, tiny_models.references[architecture.name])


async def test_listed(served: Served) -> None:
    """ListModels tells engine, device, format and size of the checkpoint that was loaded."""
    answer = await served.client.inference.ListModels(inference_pb2.ListModelsRequest())
    (model,) = answer.models
    assert model.engine.startswith("sglang ")
    assert (model.device, model.format) == ("cpu", "safetensors")
    assert model.num_parameters > VOCAB_SIZE * 64
    assert model.capabilities.chat


async def test_same_tokens_as_transformers(served: Served, results: Results) -> None:
    """Generate and Chat give, token for token, what transformers generates greedily."""
    client = served.client
    requests = [greedy(client, NUM_TOKENS, text=text, return_token_ids=True) for text in PROMPTS]
    requests.append(greedy_chat(client, NUM_TOKENS, MESSAGES, return_token_ids=True))
    found = []
    for request, reference in zip(requests, served.references, strict=True):
        answer = await stream(client, request)
        assert answer.num_prompt_tokens == len(reference.prompt_ids)
        assert answer.num_completion_tokens == NUM_TOKENS
        found.append(compare_ids(answer.token_ids, reference))
    results.add("sglang", served.architecture.name, describe(found, NUM_TOKENS))
    assert max((one.gap for one in found if one), default=0.0) <= MAX_GAP


async def test_streams(served: Served) -> None:
    """The answer comes in many pieces, and token by token it is the answer of a second call."""
    # A long one: what comes while this process waits for a CPU is joined to one piece, and a tiny
    # model says a short answer in less than a tenth of a second.
    request = greedy(served.client, 16 * NUM_TOKENS, text=PROMPTS[0])
    assert (await stream(served.client, request)).num_deltas > NUM_TOKENS // 4
    request = greedy(served.client, NUM_TOKENS, text=PROMPTS[0], return_token_ids=True)
    first = await stream(served.client, request)
    assert (await stream(served.client, request)).token_ids == first.token_ids


async def test_cached_prefix(served: Served) -> None:
    """A prompt that was read before is found in the prefix cache, and the answer stays the same."""
    request = greedy(served.client, NUM_TOKENS, text=" and".join(["one"] * 65))
    request.return_token_ids = True
    first = await stream(served.client, request)
    again = await stream(served.client, request)
    assert first.num_cached_tokens < 16
    assert again.num_cached_tokens >= 0.8 * again.num_prompt_tokens
    assert again.token_ids == first.token_ids
