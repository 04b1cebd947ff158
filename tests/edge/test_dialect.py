"""A dialect is one object: a tiny one, registered on a running edge with nothing else changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from google.rpc import code_pb2
from tokenwire.edge.api.routes import API
from tokenwire.edge.app import DIALECTS, EdgeApp
from tokenwire.edge.body import BodyReader
from tokenwire.edge.canonical.routes import CANONICAL
from tokenwire.edge.client import FrontClient
from tokenwire.edge.context import CONTEXT
from tokenwire.edge.dialect import Dialect, FailureAnswer, dialect_of, error_response
from tokenwire.edge.errors import EdgeError, Failure, failure_of
from tokenwire.edge.sse import TextStream, data_event, send_stream
from tokenwire.generated.tokenwire.v1 import events_pb2, inference_pb2
from tokenwire.server.contract.errors import AtCapacity, EngineLost

from .conftest import edge_config
from .raw_http import exchange
from .scripted import MODEL, ScriptedFront, fail, started, text
from .sse_reading import read_events


class TinyStream(TextStream):
    """Says every text, `bye`, or what went wrong."""

    def encode_failure(self, failure: Failure) -> bytes:
        return data_event({"sorry": failure.message})

    def _encode_text(self, text: str) -> bytes:
        return data_event({"say": text})

    def _encode_end(self, finished: events_pb2.Finished) -> bytes:
        return data_event({"bye": finished.usage.num_completion_tokens})


def tiny_routes(front: FrontClient, bodies: BodyReader) -> list[web.RouteDef]:
    """One route that streams."""

    async def say(request: web.Request) -> web.StreamResponse:
        message = await bodies.read(
            request, lambda body: inference_pb2.GenerateRequest(model=MODEL, text=body["ask"])
        )
        events = front.events(front.stub.Generate, message, request[CONTEXT])
        return await send_stream(request, events, TinyStream())

    return [web.post("/tiny/say", say)]


def encode_failure(failure: Failure) -> FailureAnswer:
    """Answers in one word, and always with a time to come back."""
    return FailureAnswer(failure.traits.http_status, 7, {"sorry": failure.message})


TINY = Dialect("/tiny/", tiny_routes, encode_failure)


@pytest_asyncio.fixture(loop_scope="session")
async def tiny_edge(scripted: ScriptedFront) -> AsyncIterator[EdgeApp]:
    """An edge that speaks one dialect more."""
    config = edge_config(LLM_GRPC_TARGET=scripted.target)
    async with EdgeApp(config, dialects=(*DIALECTS, TINY)) as app:
        yield app


@pytest_asyncio.fixture(loop_scope="session")
async def tiny_http(tiny_edge: EdgeApp) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of that edge."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{tiny_edge.port}") as session:
        yield session


async def test_its_route_streams_with_its_encoder(tiny_http: aiohttp.ClientSession) -> None:
    """A registered route is served, and its stream is what its encoder writes."""
    async with tiny_http.post("/tiny/say", json={"ask": "x"}) as response:
        assert response.status == 200
        assert await read_events(response) == [{"say": "a"}, {"say": "b"}, {"bye": 2}]


async def test_a_failure_after_the_start_is_its_own_event(
    scripted: ScriptedFront, tiny_http: aiohttp.ClientSession
) -> None:
    """The last event of a stream that breaks off is the encoder's."""

    async def script(request: Any, context: Any) -> AsyncIterator[Any]:
        yield started(request)
        yield text(request, "a")
        await fail(context, EngineLost("it broke"))

    scripted.script = script
    async with tiny_http.post("/tiny/say", json={"ask": "x"}) as response:
        assert await read_events(response) == [{"say": "a"}, {"sorry": "it broke"}]


@pytest.mark.parametrize(
    ("request_line", "body", "answer"),
    [
        ("GET /tiny/nothing", {}, (404, "no route /tiny/nothing")),
        ("GET /tiny/say", {}, (405, "GET is not allowed on /tiny/say, POST is")),
        ("POST /tiny/say", [], (400, "body: must be a JSON object")),
        ("POST /tiny/say", {"ask": "x"}, (503, "full")),
    ],
)
async def test_every_failure_under_its_prefix_is_its_own(
    scripted: ScriptedFront,
    tiny_http: aiohttp.ClientSession,
    request_line: str,
    body: Any,
    answer: tuple[int, str],
) -> None:
    """Before a route is known, in a handler and from the front: the dialect of the path writes."""

    async def script(_request: Any, context: Any) -> AsyncIterator[Any]:
        await fail(context, AtCapacity("full"))
        yield

    scripted.script = script
    method, path = request_line.split()
    async with tiny_http.request(method, path, json=body) as response:
        assert response.headers["Retry-After"] == "7"
        assert (response.status, (await response.json())["sorry"]) == answer


async def test_its_headers_are_on_all_its_responses(scripted: ScriptedFront) -> None:
    """On streams, failures and unknown paths, and on nobody else's."""
    dialect = replace(TINY, headers=lambda context: {"Tiny-Id": context.request_id})
    config = edge_config(LLM_GRPC_TARGET=scripted.target)
    async with (
        EdgeApp(config, dialects=(*DIALECTS, dialect)) as app,
        aiohttp.ClientSession(f"http://127.0.0.1:{app.port}") as http,
    ):
        for path, body in (("/tiny/say", {"ask": "x"}), ("/tiny/say", []), ("/tiny/nothing", {})):
            async with http.post(path, json=body) as response:
                assert response.headers["Tiny-Id"] == response.headers["X-Request-Id"]
        async with http.get("/api/nothing") as response:
            assert "Tiny-Id" not in response.headers


async def test_other_dialects_stay_as_they_are(tiny_http: aiohttp.ClientSession) -> None:
    """Paths of others fail in the words of others."""
    async with tiny_http.get("/api/nothing") as response:
        assert await response.json() == {"error": "no route /api/nothing", "code": "NOT_FOUND"}
    async with tiny_http.get("/tokenwire/v1/nothing") as response:
        assert (await response.json())["code"] == code_pb2.NOT_FOUND


async def test_broken_http_has_the_dialect_of_its_path(
    tiny_edge: EdgeApp, scripted: ScriptedFront
) -> None:
    """What is no HTTP has no path: whoever takes the paths of nobody answers it, also another."""
    broken = b"nonsense\r\n\r\n"
    _, _, body = await exchange(tiny_edge.port, broken)
    assert body["code"] == "BAD_REQUEST"
    everything = Dialect("", tiny_routes, encode_failure)
    config = edge_config(LLM_GRPC_TARGET=scripted.target)
    async with EdgeApp(config, dialects=(everything,)) as app:
        status, headers, body = await exchange(app.port, broken)
    assert (status, headers["Retry-After"]) == (400, "7")
    assert body == {"sorry": "method: is none of HTTP"}


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/tiny/say", TINY),
        ("/tiny/", TINY),
        ("/tiny", TINY),
        ("/tinys", API),
        ("/tokenwire/v1/chat", CANONICAL),
        ("/api/tiny/", API),
        ("*", API),
        ("", API),
    ],
)
def test_the_longest_prefix_counts(path: str, dialect: Dialect) -> None:
    """Whatever the order of registration; what is nobody's belongs to the one without a prefix."""
    assert dialect_of(path, (API, CANONICAL, TINY)) is dialect
    assert dialect_of(path, (TINY, CANONICAL, API)) is dialect


def test_a_failures_own_headers_are_sent() -> None:
    """Headers of the failure, such as `Allow`, stand beside those of the answer."""
    failure = failure_of(EdgeError("METHOD_NOT_ALLOWED", "no", headers={"Allow": "POST"}))
    response = error_response(failure, TINY)
    assert (response.headers["Allow"], response.headers["Retry-After"]) == ("POST", "7")
    assert response.body == b'{"sorry":"no"}'
