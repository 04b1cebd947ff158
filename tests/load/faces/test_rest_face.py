"""The door `/api`, of a real edge before a scripted front."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from tokenwire.edge.app import EdgeApp
from tokenwire.generated.tokenwire.v1 import inference_pb2, models_pb2
from tokenwire.load.faces.exchange import Exchange
from tokenwire.load.faces.face import LoadRequest, RequestFailed, Sending, Task
from tokenwire.load.faces.rest_face import RestFace, open_rest_face
from tokenwire.server.contract.errors import EngineLost

from ...edge.conftest import edge_config
from ...edge.scripted import MODEL, ScriptedFront, fail, started
from ..scripted_openai import ScriptedOpenAi, count_connections, serving

REQUEST = LoadRequest("hello", 5, 1)


@asynccontextmanager
async def opened(front: ScriptedFront) -> AsyncGenerator[RestFace]:
    async with (
        front,
        EdgeApp(edge_config(LLM_GRPC_TARGET=front.target)) as edge,
        open_rest_face(f"http://127.0.0.1:{edge.port}") as face,
    ):
        yield face


@pytest.mark.parametrize("task", list(Task))
async def test_answers_are_noted(task: Task) -> None:
    """Tokens are those of the closing event; the stream says nothing of the prompt."""
    front = ScriptedFront()
    exchange = Exchange(time.perf_counter, 0.0)
    async with opened(front) as face:
        await face.send(Sending(MODEL, task, temperature=0.0), REQUEST, exchange)
    (request,) = front.requests
    is_chat = isinstance(request, inference_pb2.ChatRequest)
    assert is_chat is (task is Task.CHAT)
    assert request.sampling.max_tokens == 5
    assert len(exchange.times) >= 1
    assert (exchange.told_prompt_tokens, exchange.told_output_tokens) == (None, 2)


async def test_connections_are_kept() -> None:
    """An answer is read to its end: one that is left looks to the edge like a client that left."""
    ends = asyncio.Event()
    server = ScriptedOpenAi(b'data: {"content":"a"}\n\ndata: {"done":true}\n\n', ends)
    async with serving(server) as url, open_rest_face(url) as face:
        assert await count_connections(server, face, ends) == 1


async def test_models_and_counts() -> None:
    """The list of `/api`, and the count of the canonical route beside it."""
    front = ScriptedFront()
    front.models = [models_pb2.Model(id=MODEL, state=models_pb2.MODEL_STATE_SERVING)]
    async with opened(front) as face:
        assert await face.find_model() == MODEL
        assert await face.count_prompt(Sending(MODEL), "x") == 3
        assert await face.count_prompt(Sending(MODEL, Task.COMPLETION), "x") == 3


@pytest.mark.parametrize(("has_begun", "kind"), [(True, "in stream"), (False, "HTTP 503")])
async def test_failures_are_told_by_kind(has_begun: bool, kind: str) -> None:
    """A failure before the first event has its status; one behind it stands in the stream."""

    async def script(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        if has_begun:
            yield started(request)
        await fail(context, EngineLost())

    front = ScriptedFront()
    front.script = script
    async with opened(front) as face:
        with pytest.raises(RequestFailed) as caught:
            await face.send(Sending(MODEL), REQUEST, Exchange(time.perf_counter, 0.0))
    assert caught.value.kind.startswith(kind)
