"""A real gRPC server that answers what a test tells it to, call by call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from tokenwire.client import AsyncClient
from tokenwire.generated.tokenwire.v1 import (
    inference_pb2,
    inference_pb2_grpc,
    models_pb2,
    tokenizer_pb2_grpc,
)

from .answers import Status

Script = Iterable[Any]  # responses, a Status that ends it, or an Event to wait for


class ScriptedService(
    inference_pb2_grpc.InferenceServiceServicer, tokenizer_pb2_grpc.TokenizerServiceServicer
):
    """Answers each call with the next script; a stream ends with its script, or its status."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.requests: list[Any] = []
        self.metadata: dict[str, Any] = {}
        self.remaining_s: float | None = None
        self.cancelled = asyncio.Event()

    async def Chat(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self._note(request, context)
        try:
            for step in self.scripts.pop(0):
                if isinstance(step, Status):
                    await context.abort_with_status(step)
                elif isinstance(step, asyncio.Event):
                    await step.wait()
                else:
                    yield step
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled.set()
            raise

    async def ListModels(self, request: Any, context: Any) -> Any:
        self._note(request, context)
        for step in self.scripts.pop(0) if self.scripts else ():
            await context.abort_with_status(step)
        model = models_pb2.Model(id="owner/model", state=models_pb2.MODEL_STATE_SERVING)
        return inference_pb2.ListModelsResponse(models=[model])

    def _note(self, request: Any, context: Any) -> None:
        self.requests.append(request)
        self.metadata = dict(context.invocation_metadata())
        self.remaining_s = context.time_remaining()


@asynccontextmanager
async def serving(
    service: ScriptedService, credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[int]:
    """Serves on a free port of this machine."""
    server = grpc.aio.server()
    inference_pb2_grpc.add_InferenceServiceServicer_to_server(service, server)
    tokenizer_pb2_grpc.add_TokenizerServiceServicer_to_server(service, server)
    address = "127.0.0.1:0"
    if credentials is None:
        port = server.add_insecure_port(address)
    else:
        port = server.add_secure_port(address, credentials)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


@asynccontextmanager
async def asking(service: ScriptedService, **options: Any) -> AsyncIterator[AsyncClient]:
    """A client of a served script, which does not resume: those tests are test_resume.py."""
    options.setdefault("detach_timeout_s", 0)
    async with (
        serving(service) as port,
        AsyncClient(f"127.0.0.1:{port}", model="m", **options) as client,
    ):
        yield client
