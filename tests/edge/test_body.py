"""Request bodies: what cannot be read is refused before the front is asked."""

from __future__ import annotations

import aiohttp
import pytest
from tokenwire.edge.app import EdgeApp

from .conftest import MAX_BODY_BYTES, edge_config
from .raw_http import exchange
from .scripted import ScriptedFront

POSTS = [
    "/api/generate",
    "/api/chat",
    "/api/chat/stream",
    "/api/completions",
    "/api/completions/stream",
    "/tokenwire/v1/generate",
    "/tokenwire/v1/chat",
]
JSON = {"Content-Type": "application/json"}


async def refused(http: aiohttp.ClientSession, path: str, data: bytes, status: int = 400) -> str:
    """Posts bytes and returns the text of the refusal, whatever the dialect."""
    async with http.post(path, data=data, headers=JSON) as response:
        assert response.status == status, await response.text()
        assert response.content_type == "application/json"
        body = await response.json()
    return str(body["error"] if "error" in body else body["message"])


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not json",
        b'{"model":',
        b'{"model":NaN}',
        b'{"temperature":Infinity}',
        b'{"temperature":1e999}',
        b"\xff\xfe{}",
        b'{"model":"\xc3\x28"}',
        b'{"model":"\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 40_000,
        b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[]",
        b'"text"',
        b"null",
        b"12",
        b"{} {}",
    ],
    ids=lambda data: data[:12].decode("latin-1"),
)
async def test_what_is_no_json_object_is_refused(
    scripted_http: aiohttp.ClientSession, path: str, data: bytes
) -> None:
    """Whatever is not a JSON object is a 400 that says so, never a 500."""
    text = await refused(scripted_http, path, data)
    assert "body: " in text


@pytest.mark.parametrize("path", POSTS)
async def test_a_body_over_the_limit_is_413(
    scripted_http: aiohttp.ClientSession, path: str
) -> None:
    """A body that is too large is refused, and the limit told."""
    data = b'{"model":"' + b"x" * MAX_BODY_BYTES + b'"}'
    text = await refused(scripted_http, path, data, status=413)
    assert str(MAX_BODY_BYTES) in text


@pytest.mark.parametrize("path", POSTS)
async def test_another_content_type_is_415(scripted_http: aiohttp.ClientSession, path: str) -> None:
    """A body that is not JSON by its own header is refused."""
    async with scripted_http.post(path, data=b"{}", headers={"Content-Type": "text/xml"}) as answer:
        assert answer.status == 415
        assert "application/json, got text/xml" in await answer.text()


async def test_duplicate_keys_are_tolerated(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession
) -> None:
    """Of two equal keys the last one counts."""
    data = b'{"model":"a","model":"b","prompt":"x","unknown":{"a":1}}'
    async with scripted_http.post("/api/generate", data=data, headers=JSON) as response:
        assert response.status == 200
    assert scripted.requests[-1].model == "b"


async def test_a_body_without_content_type_is_json(
    scripted_http: aiohttp.ClientSession,
) -> None:
    """A client that names no type is taken at its word: the body is JSON."""
    data = b'{"model":"a","prompt":"x"}'
    skip = ("Content-Type",)
    async with scripted_http.post("/api/generate", data=data, skip_auto_headers=skip) as response:
        assert response.status == 200


async def test_a_slow_body_is_408(scripted: ScriptedFront) -> None:
    """A body that does not arrive in time is answered 408, and the connection ends."""
    config = edge_config(LLM_GRPC_TARGET=scripted.target, LLM_BODY_TIMEOUT_S="0.05")
    async with EdgeApp(config) as edge:
        data = b"POST /api/chat HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
        status, _, body = await exchange(edge.port, data)
    assert (status, body["code"]) == (408, "CLIENT_TIMEOUT")


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
