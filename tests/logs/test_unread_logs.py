"""Logging never stops the service: real processes whose log lines nobody reads."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tokenwire.generated.tokenwire.v1 import inference_pb2, inference_pb2_grpc

from ..surroundings import free_port

GUARD_S = 60.0
PIPE_BYTES = 4096  # the smallest that the kernel gives: a few log lines
NUM_REQUESTS = 50


@asynccontextmanager
async def run(folder: Path, stderr: int, *arguments: str) -> AsyncGenerator[grpc.aio.Channel]:
    """Runs a command of the service with a model that is nowhere, until it ends by itself."""
    port = free_port()
    environment = {
        **os.environ,
        "LLM_ALLOWED_MODELS": "owner/nowhere:file.gguf",
        "HF_HOME": str(folder),
        "HF_HUB_OFFLINE": "1",
        "LLM_GRPC_HOSTNAME": "127.0.0.1",
        "LLM_GRPC_PORT": str(port),
        "LLM_INFERENCE_PORT": str(free_port()),
        "LLM_METRICS_PORT": "0",
        "LOG_LEVEL": "debug",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tokenwire", *arguments),
        stderr=stderr,
        env=environment,
        cwd=folder,
    )
    try:
        async with (
            asyncio.timeout(GUARD_S),
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            yield channel
            process.terminate()
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def check(channel: grpc.aio.Channel, service: str) -> None:
    health = health_pb2_grpc.HealthStub(channel)  # type: ignore[no-untyped-call]
    await health.Check(
        health_pb2.HealthCheckRequest(service=service), wait_for_ready=True, timeout=GUARD_S
    )


async def ask(channel: grpc.aio.Channel) -> None:
    stub = inference_pb2_grpc.InferenceServiceStub(channel)
    request = inference_pb2.GenerateRequest(model="owner/other", text="hi")
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.Generate(request, timeout=GUARD_S).read()
    assert error.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("command", [["server"], ["serve"], ["serve", "--welcome"]])
async def test_requests_and_drain_go_on_while_nobody_reads(
    tmp_path: Path, command: list[str]
) -> None:
    """With a pipe that is full each request is answered, liveness too, and a drain ends."""
    reading, writing = os.pipe()
    try:
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        async with run(tmp_path, writing, *command) as channel:
            await check(channel, "liveness")
            for _ in range(NUM_REQUESTS):
                await ask(channel)
            await check(channel, "liveness")
    finally:
        os.close(reading)
        os.close(writing)


async def test_a_closed_pipe_is_survived(tmp_path: Path) -> None:
    """A standard error whose reader is gone, and one that was never open, end nothing."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        async with run(tmp_path, writing, "server") as channel:
            await check(channel, "liveness")
            await ask(channel)
    finally:
        os.close(writing)
