"""Fronts and clients for the tests, over real sockets."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tokenwire.generated.tokenwire.v1 import (
    chat_pb2,
    inference_pb2,
    inference_pb2_grpc,
    models_pb2,
)
from tokenwire.server.app import ServerApp
from tokenwire.server.models.model_state import ModelView, Prepare, State
from tokenwire.server.models.models import Models
from tokenwire.server.preparation.kits import config_class
from tokenwire.server.settings.server_config import ServerConfig

CHAT = "/tokenwire.v1.InferenceService/Chat"
GENERATE = "/tokenwire.v1.InferenceService/Generate"


@dataclass
class Client:
    """Stubs of one channel to a front."""

    app: ServerApp
    channel: grpc.aio.Channel
    inference: Any
    health: Any
    model: str

    def on(self, model: str) -> Client:
        """The same client, asking another model."""
        return replace(self, model=model)

    async def list_models(self) -> dict[str, models_pb2.Model]:
        """What ListModels tells, by id."""
        answer = await self.inference.ListModels(inference_pb2.ListModelsRequest())
        return {model.id: model for model in answer.models}

    def unary(self, method: str = CHAT, serializer: Any = None) -> Any:
        """A unary stub for a streaming method."""
        is_chat = method == CHAT
        request = inference_pb2.ChatRequest if is_chat else inference_pb2.GenerateRequest
        response = inference_pb2.ChatResponse if is_chat else inference_pb2.GenerateResponse
        return self.channel.unary_unary(
            method,
            request_serializer=serializer or request.SerializeToString,
            response_deserializer=response.FromString,
        )

    def chat(self, text: str, **fields: Any) -> inference_pb2.ChatRequest:
        """A greedy ChatRequest with one user message."""
        request = inference_pb2.ChatRequest(
            model=self.model,
            messages=[
                chat_pb2.Message(role=chat_pb2.ROLE_USER, content=[chat_pb2.ContentPart(text=text)])
            ],
            **fields,
        )
        request.sampling.temperature = 0
        return request

    def prompt(self, text: str, **fields: Any) -> inference_pb2.GenerateRequest:
        """A greedy GenerateRequest."""
        request = inference_pb2.GenerateRequest(model=self.model, text=text, **fields)
        request.sampling.temperature = 0
        return request


def make_config(**values: Any) -> ServerConfig:
    """A configuration on free ports of the loopback; `values` by variable name."""
    defaults = {
        "LLM_ALLOWED_MODELS": "test/scripted",
        "LLM_GRPC_HOSTNAME": "127.0.0.1",
        "LLM_GRPC_PORT": "0",
        "LLM_METRICS_PORT": "0",
        "LLM_NUM_THREADS": "1",
        "LLM_DRAIN_TIMEOUT_S": "5",
    }
    return config_class().model_validate(defaults | values)


@asynccontextmanager
async def start_front(
    prepare: Prepare | None = None, *, wait: bool = True, **values: Any
) -> AsyncGenerator[Client]:
    """Runs a front and a client of it; waits until its model serves or has failed."""
    config = make_config(**values)
    async with ServerApp(config, prepare) as app, connect(app) as client:
        if wait:
            await wait_for_state(app, State.SERVING)
        yield client


@asynccontextmanager
async def connect(app: ServerApp) -> AsyncGenerator[Client]:
    """Opens a channel of its own to a front."""
    async with grpc.aio.insecure_channel(
        f"127.0.0.1:{app.port}", options=[("grpc.use_local_subchannel_pool", 1)]
    ) as channel:
        yield Client(
            app,
            channel,
            inference_pb2_grpc.InferenceServiceStub(channel),
            health_pb2_grpc.HealthStub(channel),
            next(iter(app.models)).model_id,
        )


async def wait_for_state(
    app: ServerApp, state: State, timeout_s: float = 300, *, model: str = ""
) -> None:
    """Waits until a model of a front, the first unless named, reaches `state`."""
    name = model or app.models.views[0].model_id
    await wait_until(app.models, lambda: view_of(app.models, name).state is state, timeout_s)


async def wait_until(models: Models, is_reached: Callable[[], bool], timeout_s: float = 60) -> None:
    """Waits until a change of some model makes `is_reached` true, or it is true already."""
    reached = asyncio.Event()
    models.observe(lambda: reached.set() if is_reached() else None)
    async with asyncio.timeout(timeout_s):
        await reached.wait()


def view_of(models: Models, name: str) -> ModelView:
    """Where a model or an adapter stands."""
    (view,) = (view for view in models.views if view.model_id == name)
    return view


@dataclass
class Answer:
    """A whole stream."""

    text: str
    events: list[str]
    started: Any
    finished: Any
    choice_finished: Any
    positions: list[int]


async def collect(stream: Any) -> Answer:
    """Reads a stream to its end."""
    answer = Answer("", [], None, None, None, [])
    while (response := await stream.read()) is not grpc.aio.EOF:
        kind = response.WhichOneof("event")
        answer.events.append(kind)
        answer.positions.append(response.position)
        if kind == "started":
            answer.started = response.started
        elif kind == "finished":
            answer.finished = response.finished
        elif kind == "deltas":
            for delta in response.deltas.deltas:
                answer.text += delta.text.text
                if delta.WhichOneof("kind") == "finished":
                    answer.choice_finished = delta.finished
    return answer


@dataclass
class Failure:
    """How a call failed, with its details unpacked."""

    code: grpc.StatusCode
    message: str
    reason: str
    metadata: dict[str, str]
    fields: list[str]
    retry_after_s: int | None
    request_id: str
    trailers: dict[str, Any]


async def failure_of(call: Any) -> Failure:
    """Awaits a call, unary or streaming, that must fail."""
    try:
        if hasattr(call, "read"):
            while await call.read() is not grpc.aio.EOF:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return unpack(error)
    raise AssertionError("the call succeeded")


def unpack(error: grpc.aio.AioRpcError) -> Failure:
    """Unpacks the details of an error."""
    trailers: dict[str, Any] = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailers.get("grpc-status-details-bin", b""))
    info = _detail(status.details, error_details_pb2.ErrorInfo)
    bad = _detail(status.details, error_details_pb2.BadRequest)
    retry = _detail(status.details, error_details_pb2.RetryInfo)
    request = _detail(status.details, error_details_pb2.RequestInfo)
    return Failure(
        code=error.code(),
        message=error.details() or "",
        reason=info.reason if info else "",
        metadata=dict(info.metadata) if info else {},
        fields=[violation.field for violation in bad.field_violations] if bad else [],
        retry_after_s=retry.retry_delay.seconds if retry else None,
        request_id=request.request_id if request else "",
        trailers=trailers,
    )


def _detail(details: Sequence[Any], kind: Any) -> Any:
    for packed in details:
        message = kind()
        if packed.Unpack(message):
            return message
    return None


async def check(client: Client, name: str) -> int:
    """The health of one name."""
    response = await client.health.Check(health_pb2.HealthCheckRequest(service=name))
    return int(response.status)


async def scrape(client: Client) -> list[str]:
    """The metrics of a front, line by line."""
    return await asyncio.to_thread(scrape_blocking, client.app.metrics_port)


def scrape_blocking(port: int) -> list[str]:
    """The metrics at a port, line by line."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as response:
        return str(response.read().decode()).splitlines()
