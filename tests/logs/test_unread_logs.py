"""Logging never stops the service: real processes whose log lines nobody reads."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import sys
import urllib.request
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tokenwire.generated.tokenwire.v1 import inference_pb2, inference_pb2_grpc

from ..surroundings import free_port

GUARD_S = 60.0
PIPE_BYTES = 4096  # the smallest that the kernel gives: a few log lines
NUM_REQUESTS = 200  # a line each, more than a terminal holds


LOST = 'llm_log_lines_dropped_total{process="front"}'


@dataclass(frozen=True)
class Service:
    channel: grpc.aio.Channel
    metrics_port: int

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics") as page:
            return str(page.read().decode())


@asynccontextmanager
async def run(folder: Path, stderr: int, *arguments: str) -> AsyncGenerator[Service]:
    """Runs a command of the service with a model that is nowhere, until it ends by itself."""
    port, metrics_port = free_port(), free_port()
    environment = {
        **os.environ,
        "LLM_ALLOWED_MODELS": "owner/nowhere:file.gguf",
        "HF_HOME": str(folder),
        "HF_HUB_OFFLINE": "1",
        "LLM_GRPC_HOSTNAME": "127.0.0.1",
        "LLM_GRPC_PORT": str(port),
        "LLM_INFERENCE_PORT": str(free_port()),
        "LLM_METRICS_HOSTNAME": "127.0.0.1",
        "LLM_METRICS_PORT": str(metrics_port),
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
            yield Service(channel, metrics_port)
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


@contextmanager
def unread(*, is_terminal: bool) -> Generator[int]:
    """What a process writes to while nobody reads it."""
    reading, writing = pty.openpty() if is_terminal else os.pipe()
    try:
        if not is_terminal:
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        yield writing
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("is_terminal", [False, True])
async def test_requests_and_drain_go_on_while_nobody_reads(
    tmp_path: Path, *, is_terminal: bool
) -> None:
    """Where all buffers are full each request is answered, liveness too, and a drain ends.

    Takes some seconds: three processes start, and wait for a reader at their ends.
    """
    with unread(is_terminal=is_terminal) as stderr:
        async with run(tmp_path, stderr, "serve", "--welcome") as service:
            await check(service.channel, "liveness")
            for _ in range(NUM_REQUESTS):
                await ask(service.channel)
            await check(service.channel, "liveness")


async def test_a_closed_pipe_is_survived(tmp_path: Path) -> None:
    """A reader who is gone ends nothing, and the metrics tell how many lines were lost."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        async with run(tmp_path, writing, "server") as service:
            await check(service.channel, "liveness")
            await ask(service.channel)
            page = await asyncio.to_thread(service.metrics)
            (line,) = [each for each in page.splitlines() if each.startswith(LOST)]
            assert float(line.split()[1]) > 2
    finally:
        os.close(writing)
