"""Connections: what is broken as HTTP is answered too."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
import structlog
from aiohttp import web
from tokenwire.edge.api import routes
from tokenwire.edge.app import EdgeApp
from tokenwire.edge.health import HealthRoutes

from ..conftest import edge_config
from ..raw_http import exchange
from ..scripted import ScriptedFront

GUARD_S = 45.0


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


@pytest.mark.parametrize("begun", [b"G", b"GET / HTTP/1.1\r\nHost:", b"\r\n"])
async def test_slow_headers_are_answered_and_end_the_connection(
    scripted: ScriptedFront, begun: bytes
) -> None:
    """A client that never finishes its headers is told so, and hung up on."""
    config = edge_config(LLM_GRPC_TARGET=scripted.target, LLM_HTTP_HEAD_TIMEOUT_S="0.05")
    async with EdgeApp(config) as edge:
        status, headers, body = await exchange(edge.port, begun)
        metrics = await _metrics(edge.port)
    assert status == 408
    assert body == {
        "error": "the headers did not arrive within 0.05 s",
        "code": "CLIENT_TIMEOUT",
    }
    assert headers["Connection"] == "close"
    assert 'http_connections_cut_total{limit="slow_headers"} 1.0' in metrics


async def test_a_slow_head_has_its_time_however_long_the_connection_was_idle(
    scripted: ScriptedFront,
) -> None:
    """The end of the idle time does not cut off a request that began within it."""
    config = edge_config(LLM_GRPC_TARGET=scripted.target, LLM_HTTP_IDLE_TIMEOUT_S="0.2")
    async with EdgeApp(config) as edge, asyncio.timeout(GUARD_S):
        silent = await asyncio.open_connection("127.0.0.1", edge.port)
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(b"GET /health/live HTTP/1.1\r\n")
        assert await silent[0].read() == b""  # its idle time, as long as the other's, is over
        writer.write(b"Host: x\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        silent[1].close()
        writer.close()


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


async def _metrics(port: int) -> str:
    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
        http.get("/metrics") as response,
    ):
        return await response.text()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\4", "version: must be HTTP/1.1: HTTP/2 is not"),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", "version: must be HTTP/1.1 or HTTP/1.0"),
        (b"GET / HTTP/1.2\r\nHost: x\r\n\r\n", "version: must be HTTP/1.1 or HTTP/1.0"),
        (b"GET /\r\n\r\n", "version: must be HTTP/1.1 or HTTP/1.0"),
        (b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", "method: is none of HTTP"),
        (b"\x16\x03\x01\0\xc8" + b"\x11" * 90, "request: is TLS, and this port speaks plain HTTP"),
        (b"GET /a\0b HTTP/1.1\r\nHost: x\r\n\r\n", "path: is neither a path nor"),
        (b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", "request line: must be METHOD /path"),
        (b"GET / HTTP/1.1\r\n\r\n", "Host: must be there, once"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n", "headers: hold a line or a character"),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
            "Transfer-Encoding: must be chunked, once",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: a\r\n\r\n",
            "Content-Length: must be one whole number",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "body: is not in the chunks",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n\r\nabc",
            "body: is longer than its Content-Length",
        ),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
async def test_what_is_broken_is_told_by_its_part(
    scripted_edge: EdgeApp, data: bytes, told: str
) -> None:
    """The 400 names what is wrong, in a status line of HTTP/1.1 whatever came."""
    status, headers, body = await exchange(scripted_edge.port, data)
    assert (status, body["code"], headers["Connection"]) == (400, "BAD_REQUEST", "close")
    assert body["error"].startswith(f"Bad request: {told}")


async def test_the_status_line_never_repeats_a_version(scripted_edge: EdgeApp) -> None:
    """An answer of HTTP/2.0 in the form of HTTP/1 would be read by nobody."""
    reader, writer = await asyncio.open_connection("127.0.0.1", scripted_edge.port)
    async with asyncio.timeout(GUARD_S):
        writer.write(b"GET /health/live HTTP/2.0\r\nHost: x\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    writer.close()


async def test_broken_headers_are_told_in_the_dialect_of_their_path(
    scripted_edge: EdgeApp,
) -> None:
    """The path counts, where it came in the same packet."""
    data = b"POST /tokenwire/v1/chat HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 9000 + b"\r\n\r\n"
    status, _, body = await exchange(scripted_edge.port, data)
    assert (status, body["details"][0]["reason"]) == (431, "HEADERS_TOO_LARGE")


@pytest.mark.parametrize(
    "head",
    [b"A: " + b"x" * 2_000_000, b"".join(b"A%d: %s\r\n" % (i, b"x" * 4000) for i in range(500))],
    ids=["one", "many"],
)
async def test_headers_far_beyond_the_limit_are_answered_too(
    scripted_edge: EdgeApp, head: bytes
) -> None:
    """The answer is not lost with the bytes that nobody reads."""
    data = b"GET / HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n"
    status, _, body = await exchange(scripted_edge.port, data)
    assert (status, body["code"]) == (431, "HEADERS_TOO_LARGE")


async def test_headers_that_trickle_in_are_bounded_together(scripted: ScriptedFront) -> None:
    """Each within its limit, all of them beyond theirs: refused before they end."""
    config = edge_config(LLM_GRPC_TARGET=scripted.target, LLM_HTTP_MAX_HEADER_BYTES="1024")
    async with EdgeApp(config) as edge:
        head = b"".join(b"A%d: %s\r\n" % (i, b"x" * 900) for i in range(10))
        data = b"GET / HTTP/1.1\r\nHost: x\r\n" + head
        status, _, body = await exchange(edge.port, data)
    assert (status, body["code"]) == (431, "HEADERS_TOO_LARGE")
    assert body["error"] == "the headers together are over the limit of 8192 bytes"


async def test_a_slow_body_is_no_slow_head(scripted: ScriptedFront) -> None:
    """What comes behind the headers has its own, longer time, and its own limit."""
    config = edge_config(
        LLM_GRPC_TARGET=scripted.target,
        LLM_HTTP_HEAD_TIMEOUT_S="0.05",
        LLM_HTTP_MAX_HEADER_BYTES="1024",
        LLM_BODY_TIMEOUT_S="0.3",
    )
    async with EdgeApp(config) as edge:
        head = b"POST /api/chat HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n"
        status, _, body = await exchange(edge.port, head + b" " * 30_000)
    assert (status, body["error"]) == (408, "the body did not arrive within 0.3 s")


@pytest.mark.parametrize("num_bytes", [10, 2_000_000])
async def test_an_answer_that_nobody_reads_is_given_up(
    scripted: ScriptedFront, monkeypatch: pytest.MonkeyPatch, num_bytes: int
) -> None:
    """Also one that is whole, and one behind which the connection is closed."""

    async def answer(*_: object) -> web.Response:
        return web.Response(body=b"x" * num_bytes)

    monkeypatch.setattr(HealthRoutes, "live", answer)
    config = edge_config(
        LLM_GRPC_TARGET=scripted.target,
        LLM_HTTP_WRITE_TIMEOUT_S="0.05",
        LLM_HTTP_IDLE_TIMEOUT_S="0.05",
    )
    request = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    async with EdgeApp(config) as edge, asyncio.timeout(GUARD_S):
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", edge.port))
            client.send(request)
            while "http_connections 1.0" not in await _metrics(edge.port):  # its own
                pass
            if num_bytes > 10:  # more than the kernel takes over
                with pytest.raises(ConnectionResetError):
                    _read_all(client)


async def test_beyond_the_limit_the_one_that_waits_longest_gives_way(
    scripted: ScriptedFront,
) -> None:
    """Whoever only holds connections, silent or in the midst of headers, shuts nobody out."""
    config = edge_config(LLM_GRPC_TARGET=scripted.target, LLM_HTTP_MAX_CONNECTIONS="2")
    async with EdgeApp(config) as edge, asyncio.timeout(GUARD_S):
        first = await asyncio.open_connection("127.0.0.1", edge.port)
        first[1].write(b"GET /health/live HTTP/1.1\r\n")
        second = await asyncio.open_connection("127.0.0.1", edge.port)
        third = await asyncio.open_connection("127.0.0.1", edge.port)
        third[1].write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await third[0].readline()).startswith(b"HTTP/1.1 200 ")
        assert await first[0].read() == b""
        for _, writer in (first, second, third):
            writer.close()


async def test_where_all_connections_are_in_use_the_next_is_refused(
    scripted: ScriptedFront,
) -> None:
    """A request that runs is not given up for another; the refusal says when to come back."""

    async def endless(_request: object, _context: object) -> AsyncIterator[object]:
        await asyncio.Event().wait()
        yield

    scripted.script = endless
    config = edge_config(LLM_GRPC_TARGET=scripted.target, LLM_HTTP_MAX_CONNECTIONS="1")
    body = b'{"model":"a","prompt":"x"}'
    head = b"POST /api/generate HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with EdgeApp(config) as edge, asyncio.timeout(GUARD_S):
        _, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(head + body)
        await scripted.entered.wait()
        status, headers, told = await exchange(edge.port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (status, told["code"], headers["Retry-After"]) == (503, "SERVICE_UNAVAILABLE", "5")
        assert told["error"] == "Service unavailable: all 1 connections are in use"
        writer.close()
        await scripted.cancelled.wait()


async def test_one_address_may_have_a_limit_of_its_own(scripted: ScriptedFront) -> None:
    """Beyond it the address is refused, while there is room for others."""
    config = edge_config(LLM_GRPC_TARGET=scripted.target, LLM_HTTP_MAX_CONNECTIONS_PER_PEER="1")
    async with EdgeApp(config) as edge, asyncio.timeout(GUARD_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readline()  # it has its place
        status, _, told = await exchange(edge.port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert status == 503
        assert told["error"] == "Service unavailable: 1 connections are open from this address"
        writer.transport.abort()


def _read_all(client: socket.socket) -> None:
    while client.recv(65536):
        pass
