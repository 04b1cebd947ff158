"""Who may call what, on both doors: every route and rpc that there is, with every kind of key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import pytest_asyncio
from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tokenwire.edge.app import EdgeApp
from tokenwire.generated.tokenwire.v1 import (
    access_pb2,
    chat_pb2,
    inference_pb2,
    tokenizer_pb2,
)
from tokenwire.generated.xds.service.orca.v3 import orca_pb2

from ..edge.conftest import edge_config
from ..server.fronts import Client, start_front, unpack
from ..server.key_files import write_keys
from ..server.scripted_engine import MODEL_ID, ScriptedEngine, ScriptedLauncher

# What each cell may answer: over gRPC, and over HTTP.
REFUSALS = {
    "UNAUTHENTICATED": (grpc.StatusCode.UNAUTHENTICATED, 401),
    "PERMISSION_DENIED": (grpc.StatusCode.PERMISSION_DENIED, 403),
    "QUOTA_EXCEEDED": (grpc.StatusCode.RESOURCE_EXHAUSTED, 429),
}
SERVED = "served"
COLUMNS = ("no key", "wrong", "expired", "wrong scope", "over quota", "no scope", "right")
# Everything that there is, unless one of those below names it.
GUARDED = dict(
    zip(
        COLUMNS,
        ("UNAUTHENTICATED",) * 3 + ("PERMISSION_DENIED", "QUOTA_EXCEEDED", SERVED, SERVED),
        strict=True,
    )
)
# What tells of others is for keys alone whose `calls` name it.
NAMED = GUARDED | {"no scope": "PERMISSION_DENIED"}
NOT_COUNTED = NAMED | {"over quota": SERVED}
OPEN = dict.fromkeys(COLUMNS, SERVED)

RPCS = {
    "grpc.health.v1.Health/Check": OPEN,
    "grpc.health.v1.Health/List": OPEN,
    "grpc.health.v1.Health/Watch": OPEN,
    "tokenwire.v1.AccessService/CheckAccess": NOT_COUNTED,
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo": NAMED,
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": NAMED,
    "xds.service.orca.v3.OpenRcaService/StreamCoreMetrics": NAMED,
}
ROUTES = {
    "/health/live": OPEN,
    "/health/ready": OPEN,
    "/metrics": NOT_COUNTED,
    "/": NOT_COUNTED,
    "/swagger-ui": NOT_COUNTED,
    "/swagger-ui/": NOT_COUNTED,
    "/swagger-ui/{name}": NOT_COUNTED,
    "/api/openapi.json": NOT_COUNTED,
    "/playground/service.json": NOT_COUNTED,
    "/playground/{name}": NOT_COUNTED,
}

CHAT = {"model": MODEL_ID, "messages": [{"role": "user", "content": "go"}], "max_tokens": 1}
PROMPT = {"model": MODEL_ID, "prompt": "go", "max_tokens": 1}
SAMPLING = {"maxTokens": 1, "temperature": 0}
# A good body for each route that takes one: a new route needs one here.
BODIES: dict[str, Any] = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": PROMPT,
    "/api/generate": PROMPT,
    "/api/generate/stream": PROMPT,
    "/api/chat": CHAT,
    "/api/chat/stream": CHAT,
    "/api/completions": PROMPT,
    "/api/completions/stream": PROMPT,
    "/tokenwire/v1/generate": {"model": MODEL_ID, "text": "go", "sampling": SAMPLING},
    "/tokenwire/v1/chat": {
        "model": MODEL_ID,
        "messages": [{"role": "ROLE_USER", "content": [{"text": "go"}]}],
        "sampling": SAMPLING,
    },
    "/tokenwire/v1/tokenize": {"model": MODEL_ID, "text": "go"},
    "/tokenwire/v1/detokenize": {"model": MODEL_ID, "tokenIds": [1]},
    "/tokenwire/v1/count_tokens": {"generate": {"model": MODEL_ID, "text": "go"}},
}
ALL_CALLS = [
    *("Chat", "Generate", "ListModels", "Tokenize", "Detokenize", "CountTokens"),
    *("metrics", "reflection", "swagger"),
]
LIST_SERVICES = reflection_pb2.ServerReflectionRequest(list_services="")
_GO = inference_pb2.GenerateRequest(model=MODEL_ID, text="go")
_GO.sampling.max_tokens = 1
_SAY = inference_pb2.ChatRequest(model=MODEL_ID)
_SAY.sampling.max_tokens = 1
_SAY.messages.add(role=chat_pb2.ROLE_USER).content.add(text="go")
# A good message for each rpc that needs fields; the others take an empty one.
MESSAGES: dict[str, Message] = {
    "tokenwire.v1.InferenceService/Generate": _GO,
    "tokenwire.v1.InferenceService/Chat": _SAY,
    "tokenwire.v1.TokenizerService/Tokenize": tokenizer_pb2.TokenizeRequest(
        model=MODEL_ID, text="go"
    ),
    "tokenwire.v1.TokenizerService/Detokenize": tokenizer_pb2.DetokenizeRequest(
        model=MODEL_ID, token_ids=[1]
    ),
    "tokenwire.v1.TokenizerService/CountTokens": tokenizer_pb2.CountTokensRequest(generate=_GO),
    "tokenwire.v1.AccessService/CheckAccess": access_pb2.CheckAccessRequest(
        resource=access_pb2.RESOURCE_METRICS
    ),
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo": LIST_SERVICES,
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": LIST_SERVICES,
}


@dataclass(frozen=True, slots=True)
class Service:
    """Front and edge, and a key for each column."""

    client: Client
    edge: EdgeApp
    http: aiohttp.ClientSession
    texts: dict[str, str]

    async def headers(self, column: str, *, lists_models: bool) -> dict[str, str]:
        """What a caller of a column sends; its quota, where it has one, is used up."""
        text = self._key_of(column, lists_models=lists_models)
        headers = {} if text is None else {"authorization": f"Bearer {text}"}
        if column == "over quota":
            spent = self.client.inference.ListModels(
                inference_pb2.ListModelsRequest(), metadata=tuple(headers.items())
            )
            await spent.code()  # its one call of this minute, or one too many
        return headers

    def _key_of(self, column: str, *, lists_models: bool) -> str | None:
        """The key of a column; its scope has the one call that is not asked for."""
        if column == "no key":
            return None
        if column == "wrong":
            return self.texts["right"][:-4] + "AAAA"
        if column == "wrong scope":
            return self.texts["chats" if lists_models else "lists"]
        names = {"over quota": "spent", "no scope": "bare"}
        return self.texts[names.get(column, column)]


@pytest_asyncio.fixture(scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """A front that is open to nobody, on an engine that always answers, and an edge before it."""
    path: Path = tmp_path_factory.mktemp("keys") / "keys.toml"
    texts = write_keys(
        path,
        right=f"calls = {ALL_CALLS}",
        bare="",
        expired="expires = 2020-01-01T00:00:00Z",
        chats='calls = ["Chat"]',
        lists='calls = ["ListModels"]',
        spent=f"calls = {ALL_CALLS}\nrequests_per_minute = 1",
    )
    engine = ScriptedEngine()
    engine.allow(1000)
    async with start_front(
        ScriptedLauncher(engine).prepare, LLM_API_KEYS_FILE=str(path), LLM_API_KEYS_OPEN="none"
    ) as client:
        config = edge_config(
            LLM_GRPC_TARGET=f"127.0.0.1:{client.app.port}",
            LLM_METRICS_TARGET=f"http://127.0.0.1:{client.app.metrics_port}/metrics",
        )
        async with (
            EdgeApp(config) as edge,
            aiohttp.ClientSession(f"http://127.0.0.1:{edge.port}") as http,
        ):
            yield Service(client, edge, http, texts)


async def list_rpcs(service: Service) -> list[str]:
    """Every method of every service that the front says it has."""
    # Any: this package has no types.
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(service.client.channel)
    metadata = (("authorization", f"Bearer {service.texts['right']}"),)
    call = stub.ServerReflectionInfo(iter([LIST_SERVICES]), metadata=metadata)
    answer = await call.read()
    pool: Any = descriptor_pool.Default()
    # Its descriptors are in a pool of their own.
    others = orca_pb2.DESCRIPTOR.services_by_name.values()
    apart = {service.full_name: service for service in others}
    return [
        f"{each.name}/{method.name}"
        for each in answer.list_services_response.service
        for method in (apart.get(each.name) or pool.FindServiceByName(each.name)).methods
    ]


async def ask_rpc(service: Service, rpc: str, column: str) -> str:
    """How a caller of a column fares; a refusal has everything that belongs to it."""
    headers = await service.headers(column, lists_models=rpc.endswith("/ListModels"))
    message = MESSAGES[rpc].SerializeToString() if rpc in MESSAGES else b""
    channel, metadata = service.client.channel, tuple(headers.items())
    # One message and the end of the requests, also where more could come, which looks the same on
    # the wire: grpc.aio makes INTERNAL of a refusal that comes while it writes a stream.
    call: Any = channel.unary_stream(f"/{rpc}")(message, metadata=metadata, timeout=60)
    try:
        await call.read()
    except grpc.aio.AioRpcError as error:
        failure = unpack(error)
        if failure.reason not in REFUSALS:
            return SERVED
        assert failure.code is REFUSALS[failure.reason][0]
        assert failure.request_id
        assert (failure.retry_after_s is not None) == (failure.reason == "QUOTA_EXCEEDED")
        return failure.reason
    finally:
        call.cancel()
    return SERVED


async def test_every_rpc_with_every_kind_of_key(service: Service) -> None:
    """Health is open, CheckAccess counts nothing, and whatever else there is needs a good key."""
    rpcs = await list_rpcs(service)
    assert set(RPCS) | set(MESSAGES) < set(rpcs)
    told = {
        rpc: {column: await ask_rpc(service, rpc, column) for column in COLUMNS} for rpc in rpcs
    }
    assert told == {rpc: RPCS.get(rpc, GUARDED) for rpc in rpcs}


async def ask_route(service: Service, method: str, route: str, column: str) -> str:
    """How a caller of a column fares; a refusal has everything that belongs to it."""
    lists_models = route in ("/api/llms", "/tokenwire/v1/models") or route.startswith("/v1/models")
    headers = await service.headers(column, lists_models=lists_models)
    asset = "main.js" if route.startswith("/playground/") else "swagger-ui.css"
    path = route.replace("{name}", asset).replace("{id}", MODEL_ID).replace("{request_id}", "none")
    body = BODIES[route] if method == "POST" else None
    async with service.http.request(
        method, path, json=body, headers=headers, allow_redirects=False
    ) as response:
        refusals = {status: reason for reason, (_, status) in REFUSALS.items()}
        text = await response.text()
        if response.status == HTTPStatus.GONE:  # of a stream: there is none of this id
            return SERVED
        if response.status not in refusals:
            assert response.status < 400, (method, route, column, response.status, text)
            return SERVED
        reason = refusals[response.status]
        assert response.headers.get("WWW-Authenticate") == (
            "Bearer" if response.status == 401 else None
        )
        assert ("Retry-After" in response.headers) == (response.status == 429)
        if method == "HEAD":
            return reason
        value = await response.json()
        if route.startswith("/tokenwire/"):
            assert value["details"][0]["reason"] == reason
            assert value["code"] == REFUSALS[reason][0].value[0]
        elif route.startswith("/v1/"):
            assert value.keys() == {"error"}
            assert value["error"].keys() == {"message", "type", "param", "code"}
        else:
            assert value.keys() == {"error", "code"}
            assert value["code"] == reason
        return reason


async def test_every_route_with_every_kind_of_key(service: Service) -> None:
    """Probes are open, what the edge itself answers counts nothing, the rest needs a good key."""
    app = service.edge._runner.app
    routes = [
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None
    ]
    assert set(ROUTES) | set(BODIES) < {path for _, path in routes}
    told = {
        route: {column: await ask_route(service, *route, column) for column in COLUMNS}
        for route in routes
    }
    assert told == {route: ROUTES.get(route[1], GUARDED) for route in routes}


@pytest.mark.parametrize("column", COLUMNS)
async def test_the_metrics_port_of_the_front(service: Service, column: str) -> None:
    """It asks for the same key as the edge, and counts nothing."""
    headers = await service.headers(column, lists_models=False)
    url = f"http://127.0.0.1:{service.client.app.metrics_port}/metrics"
    async with service.http.get(url, headers=headers) as response:
        expected = NOT_COUNTED[column]
        assert response.status == (200 if expected == SERVED else REFUSALS[expected][1])
        text = await response.text()
        assert ("llm_build_info" in text) == (expected == SERVED)
        if expected != SERVED:
            assert (await response.json())["code"] == expected
            assert ("WWW-Authenticate" in response.headers) == (response.status == 401)


async def test_either_header_is_good_on_either_door(service: Service) -> None:
    """`authorization: Bearer` and `x-api-key`, and metrics of the front through the edge."""
    text = service.texts["right"]
    for headers in ({"Authorization": f"Bearer {text}"}, {"X-Api-Key": text}):
        async with service.http.get("/api/llms", headers=headers) as response:
            assert response.status == 200
        async with service.http.get("/metrics", headers=headers) as response:
            assert "llm_edge_front_up 1.0" in await response.text()
        metadata = tuple((name.lower(), value) for name, value in headers.items())
        call = service.client.inference.ListModels(
            inference_pb2.ListModelsRequest(), metadata=metadata
        )
        assert await call.code() is grpc.StatusCode.OK


async def test_a_stream_is_refused_before_it_begins(service: Service) -> None:
    """The status of the response says it, and no event."""
    path = "/api/chat/stream"
    async with service.http.post(path, json=CHAT) as response:
        assert response.status == 401
        assert response.content_type == "application/json"
        assert (await response.json())["error"].startswith("an API key is required")
