"""A front on llama.cpp that is asked to end while it answers."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tokenwire.generated.tokenwire.v1 import inference_pb2, inference_pb2_grpc

from ..conftest import MODEL_ID
from ..surroundings import free_port
from .processes import START_S
from .results import note

pytestmark = pytest.mark.faults

NUM_STREAMS = 16
NUM_TOKENS = 24


async def test_sigterm_with_streams() -> None:
    """Health says so first, new calls hear DRAINING, all streams finish, the status is 0."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tokenwire", "server"),
        env={
            **os.environ,
            "LLM_ALLOWED_MODELS": MODEL_ID,
            "LLM_ENGINE": "llamacpp",
            "LLM_MAX_MODEL_LEN": "256",
            "LLM_MAX_CONCURRENT_REQUESTS": str(NUM_STREAMS),
            "LLM_GRPC_HOSTNAME": "127.0.0.1",
            "LLM_GRPC_PORT": str(port),
            "LLM_METRICS_PORT": "0",
            "LLM_DRAIN_TIMEOUT_S": "120",
            "LOG_LEVEL": "error",
        },
    )
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub: Any = inference_pb2_grpc.InferenceServiceStub(channel)
            health: Any = health_pb2_grpc.HealthStub(channel)
            async with asyncio.timeout(START_S * 2):
                watch = health.Watch(
                    health_pb2.HealthCheckRequest(service="readiness"), wait_for_ready=True
                )
                while (await watch.read()).status != health_pb2.HealthCheckResponse.SERVING:
                    pass
                told = [asyncio.Event() for _ in range(NUM_STREAMS)]
                streams = [asyncio.create_task(_read(stub, event)) for event in told]
                await asyncio.gather(*(event.wait() for event in told))
                start_s = time.monotonic()
                process.send_signal(signal.SIGTERM)
                assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await _read(stub, asyncio.Event())
                assert await asyncio.gather(*streams) == [NUM_TOKENS] * NUM_STREAMS
                assert await process.wait() == 0
                ended_s = time.monotonic() - start_s
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert b"DRAINING" in dict(refused.value.trailing_metadata())["grpc-status-details-bin"]
    note(10, num_open=NUM_STREAMS, recovery_s=ended_s)


async def _read(stub: Any, told: asyncio.Event) -> int:
    """Reads a stream to its end; returns how many tokens it counted."""
    request = inference_pb2.GenerateRequest(model=MODEL_ID, text="1, 2, 3, 4,")
    request.sampling.max_tokens = NUM_TOKENS
    request.sampling.ignore_eos = True
    async for response in stub.Generate(request):
        if response.HasField("deltas"):
            told.set()
        if response.HasField("finished"):
            return int(response.finished.usage.num_completion_tokens)
    return 0
