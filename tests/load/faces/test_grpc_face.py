"""The gRPC door, against a scripted front."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from tokenwire.generated.tokenwire.v1 import inference_pb2, models_pb2
from tokenwire.load.faces.exchange import Exchange
from tokenwire.load.faces.face import LoadRequest, RequestFailed, Sending, Task
from tokenwire.load.faces.grpc_face import open_grpc_face
from tokenwire.server.contract.errors import EngineLost

from ...edge.scripted import ScriptedFront, ended, fail, started, text

REQUEST = LoadRequest("hello", 5, 1)


async def ask(front: ScriptedFront, sending: Sending) -> Exchange:
    exchange = Exchange(time.perf_counter, time.perf_counter())
    async with front, open_grpc_face(front.target, api_key="k") as face:
        await face.send(sending, REQUEST, exchange)
    return exchange


async def test_chat_is_asked_as_told() -> None:
    """The request holds what was chosen, and the key; usage is what was said at the end."""
    front = ScriptedFront()
    exchange = await ask(front, Sending("m", temperature=0.5))
    (request,) = front.requests
    assert isinstance(request, inference_pb2.ChatRequest)
    assert request.messages[0].content[0].text == "hello"
    sampling = request.sampling
    assert (sampling.max_tokens, sampling.ignore_eos, sampling.temperature) == (5, True, 0.5)
    assert front.metadata["authorization"] == "Bearer k"
    assert (exchange.told_prompt_tokens, exchange.told_output_tokens) == (3, 2)


async def test_completion_continues_a_text() -> None:
    """The other task is Generate, with the server's own temperature."""
    front = ScriptedFront()
    await ask(front, Sending("m", Task.COMPLETION, ignores_eos=False))
    (request,) = front.requests
    assert isinstance(request, inference_pb2.GenerateRequest)
    assert request.text == "hello"
    assert not request.sampling.HasField("temperature")


async def test_position_tells_tokens_of_a_message() -> None:
    """A message that the engine's deltas were joined in counts as many as there were."""

    async def script(request: Any, _context: Any) -> AsyncIterator[Any]:
        yield started(request)
        for position, words in ((1, "a"), (4, "bcd")):
            message = text(request, words)
            message.position = position
            yield message
        for number, message in enumerate(ended(request)):
            message.position = 5
            if number == 1:
                message.finished.usage.num_completion_tokens = 4
            yield message

    front = ScriptedFront()
    front.script = script
    exchange = await ask(front, Sending("m"))
    assert list(exchange.counts) == [1, 3]


@pytest.mark.parametrize("is_cut", [False, True])
async def test_failures_are_told_by_kind(is_cut: bool) -> None:
    """A status is told with its reason; a stream without its last event is no answer."""

    async def script(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        yield started(request)
        if not is_cut:
            await fail(context, EngineLost())

    front = ScriptedFront()
    front.script = script
    with pytest.raises(RequestFailed) as caught:
        await ask(front, Sending("m"))
    assert caught.value.kind == ("cut" if is_cut else "UNAVAILABLE ENGINE_LOST")


async def test_deadline_and_leaving() -> None:
    """A deadline is a timeout; a task that is cancelled cancels its call."""

    async def wait(_request: Any, _context: Any) -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield

    front = ScriptedFront()
    front.script = wait
    with pytest.raises(RequestFailed) as caught:
        await ask(front, Sending("m", timeout_s=0.2))
    assert caught.value.kind == "timeout"
    async with ScriptedFront() as front, open_grpc_face(front.target) as face:
        front.script = wait
        sending = face.send(Sending("m"), REQUEST, Exchange(time.perf_counter, 0))
        task = asyncio.create_task(sending)
        await front.entered.wait()
        task.cancel()
        async with asyncio.timeout(45):
            await front.cancelled.wait()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_first_serving_model() -> None:
    """A model that is still loading is not the one to measure, unless it is the only one."""
    loading = models_pb2.Model(id="a", state=models_pb2.MODEL_STATE_LOADING)
    serving = models_pb2.Model(id="b", state=models_pb2.MODEL_STATE_SERVING)
    async with ScriptedFront() as front, open_grpc_face(front.target) as face:
        front.models = [loading, serving]
        assert await face.find_model() == "b"
        front.models = [loading]
        assert await face.find_model() == "a"
        front.models = []
        with pytest.raises(RequestFailed, match="the server lists no model"):
            await face.find_model()
        assert await face.count_prompt(Sending("m"), "x") == 3
