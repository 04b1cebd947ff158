"""Connections: what is broken as HTTP is answered too."""

from __future__ import annotations

import asyncio
import json
import re

import aiohttp
import pytest
import structlog
from tokenwire.edge.api import routes
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


BROKEN = b"nonsense\r\n\r\n"


async def test_broken_http_shows_no_version_and_any_origin_may_read_it(
    scripted_edge: EdgeApp,
) -> None:
    """An answer that no handler made has the headers of every other one."""
    _, headers, _ = await exchange(scripted_edge.port, BROKEN)
    assert headers["Server"] == "tokenwire"
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["X-Content-Type-Options"] == "nosniff"


async def test_broken_http_is_read_by_no_listed_origin(scripted: ScriptedFront) -> None:
    """With a list of origins it names none: no origin could be read."""
    config = edge_config(
        LLM_GRPC_TARGET=scripted.target, CORS_ALLOWED_ORIGINS="https://app.example"
    )
    async with EdgeApp(config) as edge:
        _, headers, _ = await exchange(edge.port, BROKEN)
    assert headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize(
    "head",
    [
        b"Transfer-Encoding: gzip",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: -5",
        b"Content-Length: +5",
        b"Content-Length: 99999999999999999999999",
        b"Host: y",
        b"A : b",
        b"A: b\r\n c",
    ],
    ids=repr,
)
async def test_ambiguous_heads_are_refused(scripted_edge: EdgeApp, head: bytes) -> None:
    """What two servers could read in two ways is refused, and the connection ends."""
    data = b"POST /api/chat HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n0\r\n\r\n"
    status, _, body = await exchange(scripted_edge.port, data)
    assert (status, body["code"]) == (400, "BAD_REQUEST")


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"http://x/health/live", 200),
        (b"/%68ealth/live", 200),
        (b"/health/live?" + b"a" * 8000, 200),
        (b"//health/live", 404),
        (b"/health/live/", 404),
        (b"/health%2flive", 404),
        (b"/a/../health/live", 404),
        (b"/health/live%00", 404),
        (b"/" + b"a" * 8000, 404),
        (b"health/live", 400),
        (b"http://[::1/health", 400),
    ],
    ids=lambda value: value[:20].decode() if isinstance(value, bytes) else "",
)
async def test_odd_targets(scripted_edge: EdgeApp, target: bytes, status: int) -> None:
    """A path matches as it is written; whatever does not match is told in JSON."""
    data = b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    got, headers, body = await exchange(scripted_edge.port, data)
    assert got == status
    assert headers["X-Request-Id"]
    assert body == {"status": "ok"} or body["code"] in {"NOT_FOUND", "BAD_REQUEST"}
    assert len(json.dumps(body)) < 400


async def test_pipelined_requests_are_answered_in_order(scripted_edge: EdgeApp) -> None:
    """Requests that arrive together are answered one after the other, also behind a failure."""
    paths = (b"/nothing", b"/health/live", b"/api/chat")
    data = b"".join(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n" for path in paths)
    reader, writer = await asyncio.open_connection("127.0.0.1", scripted_edge.port)
    async with asyncio.timeout(GUARD_S):
        writer.write(data)
        statuses = []
        for _ in paths:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            statuses.append(int(head.split()[1]))
            length = re.search(r"Content-Length: (\d+)", head)
            assert length is not None
            await reader.readexactly(int(length[1]))
    writer.transport.abort()
    assert statuses == [404, 200, 405]


async def test_http_1_0_is_answered(scripted_edge: EdgeApp) -> None:
    """A client of HTTP/1.0 gets its stream without chunks, ended by the connection's end."""
    body = b'{"model":"a","prompt":"x"}'
    head = b"POST /api/completions/stream HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body)
    reader, writer = await asyncio.open_connection("127.0.0.1", scripted_edge.port)
    async with asyncio.timeout(GUARD_S):
        writer.write(head + body)
        answer = (await reader.read()).decode()
    writer.transport.abort()
    headers, _, stream = answer.partition("\r\n\r\n")
    assert "chunked" not in headers
    assert stream.startswith("data: {")
    assert stream.endswith("}\n\n")


async def test_a_client_that_left_is_no_failure(
    scripted_edge: EdgeApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An answer that finds its connection closed is given up without an error in the log."""

    async def find_it_closed(*_: object) -> None:
        raise ConnectionResetError("Cannot write to closing transport")

    monkeypatch.setattr(routes, "send_stream", find_it_closed)
    body = b'{"model":"a","prompt":"x"}'
    head = b"POST /api/completions/stream HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", scripted_edge.port)
    with structlog.testing.capture_logs() as events:
        async with asyncio.timeout(GUARD_S):
            writer.write(head % len(body) + body)
            assert await reader.read() == b""
    writer.transport.abort()
    assert [event["status"] for event in events if event["event"] == "http_request"] == [499]
    assert not [event for event in events if event["log_level"] == "error"]
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_body_that_breaks_off_is_refused_at_once(scripted_edge: EdgeApp) -> None:
    """A chunk that is none ends the request then, not once the time for its body is over."""
    head = b"POST /api/chat HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", scripted_edge.port)
    async with asyncio.timeout(GUARD_S):
        writer.write(head + b"2\r\n{}\r\n")
        await _request_begun(scripted_edge.port)
        writer.write(b"zz\r\n\r\n")
        answer = (await reader.read()).decode()
    writer.transport.abort()
    assert answer.startswith("HTTP/1.1 400 ")
    assert answer.count("HTTP/1.1") == 1
    assert "Bad request: body: is broken off" in answer


async def _request_begun(port: int) -> None:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
        while True:
            async with http.get("/metrics") as response:
                if "http_requests_in_flight 2.0" in await response.text():
                    return
