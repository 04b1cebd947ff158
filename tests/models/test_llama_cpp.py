"""llama.cpp loads the architectures that are written as GGUF here, and answers as it should."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
import pytest_asyncio
from tokenwire.generated.tokenwire.v1 import inference_pb2

from ..server.fronts import Client
from .architectures import ARCHITECTURES
from .checkpoints import MESSAGES, NUM_TOKENS, PROMPTS, Reference
from .conftest import TinyModels, run_python
from .divergence import compare_text, describe
from .documented import GGUF_MODELS
from .gguf_checkpoints import GGUF_ARCHITECTURES, GgufArchitecture
from .results import Results
from .serving import greedy, greedy_chat, serve, stream

# The weights are float32, but llama.cpp keeps the KV cache in float16.
MAX_GAP = 0.01
UNKNOWN = "unknown model architecture"
NAMES = sorted(
    {model.gguf for model in GGUF_MODELS}
    | {architecture.gguf for architecture in ARCHITECTURES if architecture.gguf}
)


@dataclass(frozen=True, slots=True)
class Served:
    """One architecture behind a front of its own."""

    architecture: GgufArchitecture
    client: Client
    references: list[Reference]


@pytest_asyncio.fixture(
    scope="module", loop_scope="session", params=GGUF_ARCHITECTURES, ids=lambda value: value.name
)
async def served(request: pytest.FixtureRequest, tiny_models: TinyModels) -> AsyncIterator[Served]:
    """A front that finds the file under LLM_MODEL_PATH."""
    architecture = cast("GgufArchitecture", request.param)
    async with serve(f"tiny/{architecture.name}:model.gguf", tiny_models.root) as client:
        yield Served(architecture, client, tiny_models.references[architecture.name])


async def test_listed(served: Served) -> None:
    """ListModels tells engine, device, format and type of the file that was loaded."""
    answer = await served.client.inference.ListModels(inference_pb2.ListModelsRequest())
    (model,) = answer.models
    assert model.engine.startswith("llama.cpp ")
    assert (model.device, model.format) == ("cpu", "gguf")
    assert "F32" in model.quantization
    assert model.capabilities.chat


async def test_same_text_as_transformers(served: Served, results: Results) -> None:
    """Generate and Chat give what transformers generates greedily from the same weights."""
    client = served.client
    requests = [greedy(client, NUM_TOKENS, text=text) for text in PROMPTS]
    requests.append(greedy_chat(client, NUM_TOKENS, MESSAGES))
    found = []
    for request, reference in zip(requests, served.references, strict=True):
        answer = await stream(client, request)
        assert answer.num_prompt_tokens == len(reference.prompt_ids)
        assert answer.num_completion_tokens == NUM_TOKENS
        found.append(compare_text(answer.text, reference))
    results.add("llama.cpp", served.architecture.name, describe(found, NUM_TOKENS))
    assert max((one.gap for one in found if one), default=0.0) <= MAX_GAP


async def test_cached_prefix(served: Served) -> None:
    """A prompt that was read before is found in the prefix cache, and the answer stays the same."""
    request = greedy(served.client, NUM_TOKENS, text=" and".join(["one"] * 65))
    first = await stream(served.client, request)
    again = await stream(served.client, request)
    # Of a sliding window llama.cpp reads the last few tokens again.
    assert again.num_cached_tokens >= 0.95 * again.num_prompt_tokens
    assert again.text == first.text


async def complaint_about(name: str, folder: Path) -> str:
    """What llama.cpp says of a file that holds nothing but the name of its architecture."""
    return await run_python("bare_gguf", name, str(folder / f"{name}.gguf"))


async def test_names_are_known(results: Results, tmp_path: Path) -> None:
    """llama.cpp knows the architecture of every documented GGUF file and family."""
    complaints = await asyncio.gather(*(complaint_about(name, tmp_path) for name in NAMES))
    unknown = [
        name for name, said in zip(NAMES, complaints, strict=True) if not said or UNKNOWN in said
    ]
    for name in NAMES:
        results.add("llama.cpp names", name, "unknown" if name in unknown else "known")
    assert unknown == []


async def test_made_up_name_is_unknown(tmp_path: Path) -> None:
    """The test above would notice: of a name that nobody uses llama.cpp says so."""
    assert UNKNOWN in await complaint_about("no-such-model", tmp_path)
