"""What surrounds every route: ids, routing errors, CORS, broken and slow connections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from tokenwire.edge.app import EdgeApp

from .conftest import MAX_BODY_BYTES, edge_config
from .scripted import MODEL, ScriptedFront

GUARD_S = 20
BODY = {"model": MODEL, "prompt": "x"}
PREFLIGHT = {"Access-Control-Request-Method": "POST"}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def exchange(port: int, data: bytes) -> tuple[int, dict[str, str], Any]:
    """Sends bytes and returns status, headers and JSON of the answer, once the server hung up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        async with asyncio.timeout(GUARD_S):
            answer = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    status_line, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(status_line.split()[1]), headers, json.loads(body)


async def test_the_callers_request_id_comes_back(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession
) -> None:
    """A sane id goes to the front and back to the caller; the trace goes with it."""
    headers = {"X-Request-Id": "abc-1", "traceparent": TRACE, "tracestate": "a=b"}
    async with scripted_http.post("/api/generate", json=BODY, headers=headers) as response:
        assert response.headers["X-Request-Id"] == "abc-1"
    metadata = scripted.metadata
    assert metadata["x-request-id"] == "abc-1"
    assert (metadata["traceparent"], metadata["tracestate"]) == (TRACE, "a=b")


@pytest.mark.parametrize("sent", [None, "", "a b", "x" * 129, "é", "a\tb"])
async def test_other_requests_get_an_id(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession, sent: str | None
) -> None:
    """Without an id, or with one that is not sane, the edge makes one, also for streams."""
    headers = {} if sent is None else {"X-Request-Id": sent, "traceparent": "00-nonsense"}
    body = {"model": MODEL, "prompt": "x"}
    async with scripted_http.post(
        "/api/completions/stream", json=body, headers=headers
    ) as response:
        made = response.headers["X-Request-Id"]
    assert len(made) == 32
    assert scripted.metadata["x-request-id"] == made
    assert "traceparent" not in scripted.metadata


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


async def test_a_deadline_travels_on(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession
) -> None:
    """The header `grpc-timeout` becomes the deadline of the call; without it there is none."""
    headers = {"grpc-timeout": "30S"}
    async with scripted_http.post("/api/generate", json=BODY, headers=headers) as response:
        assert response.status == 200
    assert scripted.remaining_s is not None
    assert 0 < scripted.remaining_s <= 30
    async with scripted_http.post("/api/generate", json=BODY) as response:
        assert response.status == 200
    assert scripted.remaining_s is None


async def test_a_deadline_that_passes_is_504(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession
) -> None:
    """A call that outlives its deadline is answered 504."""

    async def endless(_request: Any, _context: Any) -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield

    scripted.script = endless
    headers = {"grpc-timeout": "50m"}
    async with scripted_http.post("/api/generate", json=BODY, headers=headers) as response:
        assert response.status == 504
        assert (await response.json())["code"] == "DEADLINE_EXCEEDED"


async def test_a_malformed_deadline_is_named(scripted_http: aiohttp.ClientSession) -> None:
    """A deadline that cannot be read is a 400 that names its header."""
    headers = {"grpc-timeout": "soon"}
    async with scripted_http.post("/api/generate", json=BODY, headers=headers) as response:
        assert response.status == 400
        assert "grpc-timeout: " in (await response.json())["error"]


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


async def test_canonical_paths_answer_in_their_own_shape(
    scripted_http: aiohttp.ClientSession,
) -> None:
    """Under the proto's own prefix routing errors are google.rpc.Status too."""
    async with scripted_http.get("/tokenwire/v1/nothing") as response:
        assert response.status == 404
        assert (await response.json())["code"] == 5


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"nonsense\r\n\r\n", 400, "BAD_REQUEST"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "BAD_REQUEST"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 9000 + b"\r\n\r\n", 431, "HEADERS_TOO_LARGE"),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431, "HEADERS_TOO_LARGE"),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n",
            431,
            "HEADERS_TOO_LARGE",
        ),
    ],
    ids=["no-http", "no-host", "long-header", "long-line", "many-headers"],
)
async def test_broken_http_is_answered_in_json(
    scripted_edge: EdgeApp, data: bytes, status: int, code: str
) -> None:
    """What is not HTTP, or has headers beyond the limits, gets JSON and a request id too."""
    got, headers, body = await exchange(scripted_edge.port, data)
    assert got == status
    assert body["code"] == code
    assert headers["X-Request-Id"]


@pytest.mark.parametrize("target", [b"/\xff\xfe", b"/%ff%00", b"/api/chat?a=\xff"])
async def test_odd_bytes_in_the_path_are_no_500(scripted_edge: EdgeApp, target: bytes) -> None:
    """A path that is no text is refused like any other."""
    data = b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    status, _, body = await exchange(scripted_edge.port, data)
    assert status in {400, 404, 405}
    assert body["code"]


@pytest.mark.parametrize("name", [b"Content-Type", b"Origin", b"X-Request-Id", b"traceparent"])
async def test_odd_bytes_in_headers_are_no_500(scripted_edge: EdgeApp, name: bytes) -> None:
    """A header that is no text breaks nothing."""
    data = b"POST /api/chat HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n"
    status, _, _ = await exchange(scripted_edge.port, data + name + b": \xff\xfe\r\n\r\n{}")
    assert status in {400, 415}


async def test_a_slow_body_is_408(scripted: ScriptedFront) -> None:
    """A body that does not arrive in time is answered 408, and the connection ends."""
    config = edge_config(LLM_GRPC_TARGET=scripted.target, LLM_BODY_TIMEOUT_S="0.05")
    async with EdgeApp(config) as edge:
        data = b"POST /api/chat HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
        status, _, body = await exchange(edge.port, data)
    assert (status, body["code"]) == (408, "CLIENT_TIMEOUT")


async def test_slow_headers_end_the_connection(scripted: ScriptedFront) -> None:
    """A client that never finishes its headers is hung up on."""
    config = edge_config(LLM_GRPC_TARGET=scripted.target)
    async with EdgeApp(config, keepalive_timeout_s=0.05) as edge, asyncio.timeout(GUARD_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(b"GET / HTTP/1.1\r\nHost:")
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_a_chunked_body_is_bounded_too(scripted_edge: EdgeApp) -> None:
    """The size limit counts what arrives, not what a header promises."""
    head = (
        b"POST /api/chat HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    data = head + chunk * (MAX_BODY_BYTES // 0x8000 + 1) + b"0\r\n\r\n"
    status, _, body = await exchange(scripted_edge.port, data)
    assert (status, body["code"]) == (413, "BODY_TOO_LARGE")


async def test_any_origin_may_call(scripted_http: aiohttp.ClientSession) -> None:
    """With `*` every origin, method and header is allowed, and credentials never."""
    headers = {
        "Origin": "https://a.example",
        "Access-Control-Request-Headers": "authorization, x-own",
        **PREFLIGHT,
    }
    async with scripted_http.options("/api/chat", headers=headers) as response:
        assert response.status == 204
        allowed = response.headers
    assert allowed["Access-Control-Allow-Origin"] == "*"
    assert allowed["Access-Control-Allow-Methods"] == "*"
    assert allowed["Access-Control-Allow-Headers"] == "authorization, x-own"
    assert "Access-Control-Allow-Credentials" not in allowed
    for path in ("/api/completions/stream", "/nothing"):
        async with scripted_http.post(path, json=BODY, headers=headers) as response:
            assert response.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        ("https://app.example", True),
        ("http://localhost:3000", True),
        ("https://evil-app.example", False),
        ("https://app.example.evil.com", False),
        ("https://app.example:8443", False),
        ("http://app.example", False),
        ("null", False),
        ("https://APP.example", False),
    ],
)
async def test_listed_origins_are_exact(
    scripted: ScriptedFront, origin: str, is_allowed: bool
) -> None:
    """With a list only its very origins may call, with credentials, two headers, three methods."""
    config = edge_config(
        LLM_GRPC_TARGET=scripted.target,
        CORS_ALLOWED_ORIGINS="https://app.example, http://localhost:3000",
    )
    async with (
        EdgeApp(config) as edge,
        aiohttp.ClientSession(f"http://127.0.0.1:{edge.port}") as http,
    ):
        headers = {"Origin": origin}
        async with http.options("/api/chat", headers={**headers, **PREFLIGHT}) as response:
            preflight = response.headers
        async with http.post("/api/completions/stream", json=BODY, headers=headers) as response:
            assert response.status == 200
            answer = response.headers
    for got in (preflight, answer):
        assert got["Vary"] == "Origin"
        assert got.get("Access-Control-Allow-Origin") == (origin if is_allowed else None)
        assert got.get("Access-Control-Allow-Credentials") == ("true" if is_allowed else None)
    if is_allowed:
        assert preflight["Access-Control-Allow-Methods"] == "GET, POST, OPTIONS"
        assert preflight["Access-Control-Allow-Headers"] == "Content-Type, Authorization"
        assert preflight["Access-Control-Max-Age"] == "3600"
    else:
        assert "Access-Control-Allow-Methods" not in preflight
