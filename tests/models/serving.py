"""A front that serves one tiny model, found under `LLM_MODEL_PATH`, and answers of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from tokenwire.generated.tokenwire.v1 import chat_pb2, inference_pb2

from ..server.fronts import Client, start_front

HANG_S = 300.0
"""A guard against hangs: far above what any start or answer takes on a busy machine."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """An answer as it came: the deltas, and what stood around them."""

    text: str
    token_ids: list[int]
    num_deltas: int
    num_prompt_tokens: int
    num_cached_tokens: int
    num_completion_tokens: int


@asynccontextmanager
async def serve(model_id: str, root: Path, **variables: str) -> AsyncGenerator[Client]:
    """Runs a front until its one model serves; a load that fails is told with its reason."""
    values = {
        "LLM_ALLOWED_MODELS": model_id,
        "LLM_MODEL_PATH": str(root),
        "LLM_ENABLE_PREFIX_CACHING": "true",
        "LLM_PAGED_ATTENTION_BLOCK_SIZE": "16",
        "LLM_MAX_MODEL_LEN": "1024",
        "HF_HUB_OFFLINE": "1",
    }
    async with start_front(wait=False, **(values | variables)) as client:
        await _wait_settled(client)
        yield client


async def _wait_settled(client: Client) -> None:
    model = next(iter(client.app.models))
    settled = asyncio.Event()

    def look() -> None:
        if model.view.state.name in ("SERVING", "FAILED"):
            settled.set()

    client.app.models.observe(look)
    async with asyncio.timeout(HANG_S):
        await settled.wait()
    assert model.view.state.name == "SERVING", model.view.failure


def greedy(client: Client, max_tokens: int, **fields: Any) -> inference_pb2.GenerateRequest:
    """A greedy request that runs to its last token."""
    request = inference_pb2.GenerateRequest(model=client.model, **fields)
    request.sampling.temperature = 0
    request.sampling.max_tokens = max_tokens
    request.sampling.ignore_eos = True
    return request


def greedy_chat(
    client: Client, max_tokens: int, messages: list[dict[str, str]], **fields: Any
) -> inference_pb2.ChatRequest:
    """The same for a conversation."""
    request = inference_pb2.ChatRequest(
        model=client.model,
        messages=[
            chat_pb2.Message(
                role=chat_pb2.Role.Value(f"ROLE_{message['role'].upper()}"),
                content=[chat_pb2.ContentPart(text=message["content"])],
            )
            for message in messages
        ],
        **fields,
    )
    request.sampling.temperature = 0
    request.sampling.max_tokens = max_tokens
    request.sampling.ignore_eos = True
    return request


async def stream(client: Client, request: Any) -> Streamed:
    """Sends a request of either kind and reads its stream to the end."""
    is_chat = isinstance(request, inference_pb2.ChatRequest)
    call = (client.inference.Chat if is_chat else client.inference.Generate)(request)
    texts: list[str] = []
    token_ids: list[int] = []
    num_prompt_tokens, finished = 0, None
    async with asyncio.timeout(HANG_S):
        while (response := await call.read()) is not grpc.aio.EOF:
            if response.HasField("started"):
                num_prompt_tokens = response.started.num_prompt_tokens
            for delta in response.deltas.deltas:
                if delta.HasField("text"):
                    texts.append(delta.text.text)
                    token_ids.extend(delta.text.token_ids)
            if response.HasField("finished"):
                finished = response.finished
    assert finished is not None
    return Streamed(
        "".join(texts),
        token_ids,
        len(texts),
        num_prompt_tokens,
        finished.usage.num_cached_prompt_tokens,
        finished.usage.num_completion_tokens,
    )
