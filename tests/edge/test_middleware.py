"""What surrounds every handler: ids and errors."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from structlog.testing import capture_logs
from tokenwire.edge.app import EdgeApp
from tokenwire.edge.errors import EdgeError
from tokenwire.edge.middleware import InFlight

from .conftest import edge_config
from .raw_http import GUARD_S, exchange
from .scripted import MODEL, ScriptedFront


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("POST", "/api/generate", 400), ("GET", "/api/chat", 405)],
)
async def test_errors_carry_the_request_id(
    scripted_http: aiohttp.ClientSession, method: str, path: str, status: int
) -> None:
    """Every error has the request id, the edge's own included."""
    headers = {"X-Request-Id": "e1"}
    async with scripted_http.request(method, path, headers=headers, json={}) as response:
        assert response.status == status
        assert response.headers["X-Request-Id"] == "e1"


async def test_an_unknown_path_is_a_json_404(scripted_http: aiohttp.ClientSession) -> None:
    """An unknown path answers in the shape of every error."""
    async with scripted_http.get("/api/nothing") as response:
        assert response.status == 404
        assert await response.json() == {"error": "no route /api/nothing", "code": "NOT_FOUND"}


async def test_a_wrong_method_is_a_json_405(scripted_http: aiohttp.ClientSession) -> None:
    """A wrong method says which one is right, in text and in `Allow`."""
    async with scripted_http.get("/api/chat") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "POST"
        assert await response.json() == {
            "error": "GET is not allowed on /api/chat, POST is",
            "code": "METHOD_NOT_ALLOWED",
        }


async def test_two_right_methods_are_told_as_two(scripted_http: aiohttp.ClientSession) -> None:
    """In words in the text, as a list in `Allow`."""
    async with scripted_http.post("/v1/models") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET, HEAD"
        message = (await response.json())["error"]["message"]
    assert message == "POST is not allowed on /v1/models, GET and HEAD are"


async def test_canonical_paths_answer_in_their_own_shape(
    scripted_http: aiohttp.ClientSession,
) -> None:
    """Under the proto's own prefix routing errors are google.rpc.Status too."""
    async with scripted_http.get("/tokenwire/v1/nothing") as response:
        assert response.status == 404
        assert (await response.json())["code"] == 5


ALLOWED = "https://app.example"


@pytest.mark.parametrize("path", ["/api/generate", "/tokenwire/v1/generate", "/nothing"])
async def test_an_unknown_expectation_is_417(scripted: ScriptedFront, path: str) -> None:
    """It is refused before any handler, and answered like every other failure."""
    config = edge_config(LLM_GRPC_TARGET=scripted.target, CORS_ALLOWED_ORIGINS=ALLOWED)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n"
        f"Origin: {ALLOWED}\r\nX-Request-Id: e1\r\nExpect: 200-ok\r\n\r\n"
    )
    async with EdgeApp(config) as edge:
        status, headers, body = await exchange(edge.port, head.encode() + b"{}")
    assert status == 417
    assert headers["X-Request-Id"] == "e1"
    assert headers["Access-Control-Allow-Origin"] == ALLOWED
    text = "Expect: only 100-continue is understood, got 200-ok"
    if path.startswith("/tokenwire/"):
        assert body["message"] == text
    else:
        assert body == {"error": text, "code": "EXPECTATION_FAILED"}


async def test_an_expectation_of_100_continue_is_met(scripted_edge: EdgeApp) -> None:
    """A client that asks before it sends its body is told to go on, and answered."""
    data = (
        b"POST /api/generate HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Content-Length: 26\r\nExpect: 100-continue\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", scripted_edge.port)
    async with asyncio.timeout(GUARD_S):
        writer.write(data)
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b'{"model":"a","prompt":"x"}')
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    writer.transport.abort()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/health/live"),
        ("HEAD", "/metrics"),
        ("GET", "/swagger-ui"),
        ("POST", "/api/generate"),
        ("POST", "/api/completions/stream"),
        ("POST", "/nothing"),
        ("OPTIONS", "/api/chat"),
    ],
)
async def test_no_answer_tells_what_it_is_made_of(
    scripted_http: aiohttp.ClientSession, method: str, path: str
) -> None:
    """`Server` names the service, without versions, on answers and failures."""
    body = {"model": MODEL, "prompt": "x"}
    async with scripted_http.request(method, path, json=body) as response:
        assert response.headers["Server"] == "tokenwire"


async def test_the_417_is_counted_and_logged(scripted_edge: EdgeApp) -> None:
    """What aiohttp refuses by itself is a request like any other in the metrics."""
    head = b"GET /api/llms HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: x\r\n\r\n"
    await exchange(scripted_edge.port, head)
    url = f"http://127.0.0.1:{scripted_edge.port}/metrics"
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        metrics = await response.text()
    assert 'http_requests_total{method="GET",route="/api/llms",status="417"} 1.0' in metrics
    assert "http_requests_in_flight 1.0" in metrics  # the one that asks


async def test_a_drain_waits_for_what_is_in_flight() -> None:
    """Requests that are in are waited for; new ones are refused once the drain has begun."""
    in_flight = InFlight()
    await in_flight.wait_idle()
    in_flight.enter()
    in_flight.enter()
    in_flight.is_draining = True
    with pytest.raises(EdgeError, match="the server is draining"):
        in_flight.enter()
    waiting = asyncio.ensure_future(in_flight.wait_idle())
    in_flight.leave()
    await asyncio.sleep(0)
    assert not waiting.done()
    in_flight.leave()
    await waiting


async def test_one_line_a_request(scripted_http: aiohttp.ClientSession) -> None:
    """It has the request's ids, route, status and time; of the path and the query nothing."""
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    headers = {"X-Request-Id": "e1", "traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
    with capture_logs() as lines:
        async with scripted_http.get("/api/nothing?q=canary", headers=headers) as response:
            assert response.status == 404
    (line,) = [line for line in lines if line["event"] == "http_request"]
    assert line.pop("duration_s") > 0
    assert line == {
        "event": "http_request",
        "log_level": "info",
        "request_id": "e1",
        "trace_id": trace_id,
        "peer": "127.0.0.1",
        "method": "GET",
        "route": "unmatched",
        "status": 404,
        "reason": "NOT_FOUND",
    }
