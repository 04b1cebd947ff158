"""Connections: what is broken as HTTP is answered too."""

from __future__ import annotations

import asyncio

import pytest
from tokenwire.edge.app import EdgeApp

from .conftest import edge_config
from .raw_http import exchange
from .scripted import ScriptedFront

GUARD_S = 20


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


async def test_slow_headers_end_the_connection(scripted: ScriptedFront) -> None:
    """A client that never finishes its headers is hung up on."""
    config = edge_config(LLM_GRPC_TARGET=scripted.target)
    async with EdgeApp(config, keepalive_timeout_s=0.05) as edge, asyncio.timeout(GUARD_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(b"GET / HTTP/1.1\r\nHost:")
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
