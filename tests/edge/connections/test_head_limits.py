"""How long a request line, a header and all of them may be, and how many there may be."""

from __future__ import annotations

import asyncio

import pytest
from tokenwire.edge.app import EdgeApp

from ..conftest import edge_config
from ..raw_http import exchange
from ..scripted import ScriptedFront

GUARD_S = 45.0
LIMIT = 1024
TARGET = b"GET /health/live%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n"


def line_of(num_bytes: int) -> bytes:
    """A request with a target of that many bytes."""
    return TARGET % (b"?".ljust(num_bytes - len("/health/live"), b"a"), b"")


def header_of(num_bytes: int) -> bytes:
    """A request with a header whose value has that many bytes."""
    return TARGET % (b"", b"A: %s\r\n" % (b"x" * num_bytes))


@pytest.mark.parametrize("make", [line_of, header_of])
async def test_a_line_at_its_limit_and_above(scripted: ScriptedFront, make: object) -> None:
    """A target, or a header, of as many bytes as the setting is read; one more is refused."""
    assert callable(make)
    config = edge_config(LLM_GRPC_TARGET=scripted.target, LLM_HTTP_MAX_HEADER_BYTES=str(LIMIT))
    async with EdgeApp(config) as edge:
        status, _, _ = await exchange(edge.port, make(LIMIT))
        assert status == 200
        status, _, body = await exchange(edge.port, make(LIMIT + 1))
    assert (status, body["code"]) == (431, "HEADERS_TOO_LARGE")
    assert "over the limit of 1024 bytes" in body["error"]


async def test_headers_at_their_limit_and_above(scripted_edge: EdgeApp) -> None:
    """128 headers are read, one more is refused."""
    for number, expected in ((128, 200), (129, 431)):
        more = b"".join(b"A%d: b\r\n" % index for index in range(number - 2))
        status, _, body = await exchange(scripted_edge.port, TARGET % (b"", more))
        assert status == expected, number
    assert body["error"] == "there are more headers than the limit of 128"


@pytest.mark.parametrize("is_slow", [False, True])
async def test_a_head_at_its_limit_and_above(scripted: ScriptedFront, is_slow: bool) -> None:
    """All headers may have eight times the longest one, however they come."""
    config = edge_config(LLM_GRPC_TARGET=scripted.target, LLM_HTTP_MAX_HEADER_BYTES=str(LIMIT))
    async with EdgeApp(config) as edge:
        for num_bytes, expected in ((8 * LIMIT, 200), (8 * LIMIT + 1, 431)):
            data = head_of(num_bytes)
            assert len(data) == num_bytes
            first = num_bytes // 2 if is_slow else num_bytes
            reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
            writer.write(data[:first])
            if is_slow:
                await seen(edge.port)
                writer.write(data[first:])
            async with asyncio.timeout(GUARD_S):
                answer = (await reader.read()).decode()
            writer.close()
            assert answer.startswith(f"HTTP/1.1 {expected} "), num_bytes
    assert "the headers together are over the limit of 8192 bytes" in answer


def head_of(num_bytes: int) -> bytes:
    """A request with many headers, of that many bytes in all."""
    headers = b"".join(b"A%d: %s\r\n" % (index, b"x" * 900) for index in range(8))
    left = num_bytes - len(TARGET % (b"", headers))
    return TARGET % (b"", headers + b"B: %s\r\n" % (b"x" * (left - len("B: \r\n"))))


async def seen(port: int) -> None:
    """Returns once the edge has answered another connection: it has read what came before."""
    for _ in range(2):
        await exchange(port, TARGET % (b"", b""))
