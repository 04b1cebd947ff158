"""Mutated frames of HTTP/2 at the gRPC port: whatever comes, the front and its neighbours go on."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from random import Random
from typing import Final

import grpc
import pytest
from grpc_health.v1 import health_pb2
from tokenwire.generated.tokenwire.v1 import inference_pb2, sampling_pb2

from ..server.fronts import Client, check
from ..server.scripted_engine import MODEL_ID
from .free_engine import free_service
from .fuzzing import Judge, fuzz, inside_of, num_cases
from .mutated_http2 import write_connection
from .mutated_protobuf import mutate

_PATIENCE_S: Final = 0.02
_TIMEOUT_S: Final = 60.0
# What gRPC's core says of frames that it cannot read.
_OF_GRPC: Final = re.compile(r"\bError (?:code|parsing)\b|Error:")
_REQUEST: Final = inference_pb2.GenerateRequest(
    model=MODEL_ID, text="two words", sampling=sampling_pb2.Sampling(max_tokens=4)
)


def _make(random: Random) -> tuple[str, bytes]:
    message = _REQUEST.SerializeToString() if random.random() < 0.8 else mutate(random, _REQUEST)
    return "connection", write_connection(random, message)


def _judge_at(port: int) -> Judge:
    async def exchange(data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = b""
        try:
            writer.write(data)
            # Streams may never end, and a connection of HTTP/2 stays open.
            with contextlib.suppress(TimeoutError):
                while True:
                    async with asyncio.timeout(_PATIENCE_S):
                        part = await reader.read(1 << 16)
                    if not part:
                        break
                    answer += part
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()
        return answer

    async def judge(data: bytes) -> str:
        async with asyncio.timeout(_TIMEOUT_S):
            answer = await exchange(data)
        # gRPC writes headers as they are: what a status says can be read in them.
        return inside_of(_OF_GRPC.sub("", answer.decode(errors="replace")))

    return judge


@contextlib.asynccontextmanager
async def _neighbour(client: Client) -> AsyncIterator[None]:
    """A stream on a connection of its own, which must still be open at the end."""
    watch = client.health.Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    yield
    assert not watch.done()
    watch.cancel()


async def _fuzz(number: int) -> None:
    async with free_service() as service:
        client = service.front

        async def is_healthy() -> bool:
            is_serving = await check(client, "") == health_pb2.HealthCheckResponse.SERVING
            call = client.inference.Generate(_REQUEST)
            while await call.read() is not grpc.aio.EOF:
                pass
            return is_serving

        async with _neighbour(client):
            await fuzz(number, _make, lambda _: _judge_at(client.app.port), is_healthy)
        await service.engine.wait_until(running=0)
        model = next(iter(client.app.models))
        assert (model.admission.num_in_flight, model.admission.num_queued) == (0, 0)
        assert service.errors == []


async def test_mutated_connections() -> None:
    """A hundred connections: the short form of what follows."""
    await _fuzz(100)


@pytest.mark.faults
@pytest.mark.timeout(3600)
async def test_many_mutated_connections() -> None:
    """20,000 connections end or wait; the front serves, and tells nothing of its inside."""
    await _fuzz(num_cases(20_000))
