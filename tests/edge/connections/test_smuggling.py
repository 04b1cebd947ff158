"""Requests that two servers could read in two ways: one of them is never served as two."""

from __future__ import annotations

import asyncio
import re

import pytest
from tokenwire.edge.app import EdgeApp

GUARD_S = 45.0
INNER = b"GET /health/live HTTP/1.1\r\nHost: inner\r\n\r\n"
START = b"POST /api/generate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = START + b"Transfer-Encoding: chunked\r\n\r\n"


async def statuses_of(port: int, data: bytes) -> list[int]:
    """Returns the status of each answer that comes until the edge hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(GUARD_S):
        writer.write(data)
        answer = await reader.read()
    writer.transport.abort()
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


AMBIGUOUS = {
    "both lengths": b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + INNER,
    "both, the other way": b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n"
    + INNER,
    "two lengths": b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n" + INNER,
    "a list of lengths": b"Content-Length: 0, 44\r\n\r\n" + INNER,
    "a length with a sign": b"Content-Length: +0\r\n\r\n" + INNER,
    "a length in hexadecimal": b"Content-Length: 0x0\r\n\r\n" + INNER,
    "a length with a blank in it": b"Content-Length: 0 0\r\n\r\n" + INNER,
    "a length with an underscore": b"Content-Length: 4_4\r\n\r\n" + INNER,
    "a length of other digits": "Content-Length: \u0664\r\n\r\n".encode() + INNER,
    "a blank before the colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + INNER,
    "a length behind a blank": b"Content-Length : 0\r\n\r\n" + INNER,
    "a folded encoding": b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + INNER,
    "a folded length": b"A: b\r\n Content-Length: 44\r\n\r\n" + INNER,
    "an unknown encoding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + INNER,
    "chunked, and more": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + INNER,
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    + INNER,
    "a vertical tab": b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + INNER,
    "a NUL behind it": b"Transfer-Encoding: chunked\0\r\n\r\n0\r\n\r\n" + INNER,
    "a quoted encoding": b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n' + INNER,
    "a name with a NUL": b"Content-Length\0: 0\r\n\r\n" + INNER,
    "a bare CR": b"A: b\rContent-Length: 0\r\n\r\n" + INNER,
    "a line feed alone": b"A: b\nContent-Length: 44\r\n\r\n" + INNER,
    "no colon": b"Content-Length 44\r\n\r\n" + INNER,
    "an empty name": b": 44\r\n\r\n" + INNER,
    "two hosts": b"Host: y\r\nContent-Length: 0\r\n\r\n" + INNER,
}


@pytest.mark.parametrize("rest", AMBIGUOUS.values(), ids=AMBIGUOUS)
async def test_what_can_be_read_in_two_ways_is_refused(scripted_edge: EdgeApp, rest: bytes) -> None:
    """One 400, and nothing behind it is read: what comes next might be a part of it."""
    assert await statuses_of(scripted_edge.port, START + rest) == [400]


BODY = b'{"model":"a","prompt":"x"}'
SIZE = b"%x" % len(BODY)
CHUNKS = {
    "a size with a sign": b"+" + SIZE + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a size below zero": b"-1\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a size of 0x": b"0x" + SIZE + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a size behind a blank": b" " + SIZE + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a size with an underscore": b"1_a\r\n" + BODY + b"\r\n0\r\n\r\n",
    "no size": b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a size beyond 64 bits": b"f" * 17 + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a size that wraps": b"1000000000000001a\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a line feed behind the size": SIZE + b"\n" + BODY + b"\r\n0\r\n\r\n",
    "a line feed in an extension": SIZE + b";a\n" + BODY + b"\r\n0\r\n\r\n",
    "a bare CR in an extension": SIZE + b";a\rb\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a NUL in an extension": SIZE + b";a\0\r\n" + BODY + b"\r\n0\r\n\r\n",
    "more than the size": SIZE + b"\r\n" + BODY + b"xx\r\n0\r\n\r\n",
    "a line feed behind the data": SIZE + b"\r\n" + BODY + b"\n0\r\n\r\n",
    "no end of the data": SIZE + b"\r\n" + BODY + b"0\r\n\r\n",
    "a trailer with a NUL": SIZE + b"\r\n" + BODY + b"\r\n0\r\nA: \0\r\n\r\n",
    "trailers that frame": SIZE
    + b"\r\n"
    + BODY
    + b"\r\n0\r\nContent-Length: 44\r\nHost: z\r\n\r\n",
    "a trailer without a colon": SIZE + b"\r\n" + BODY + b"\r\n0\r\nA\r\n\r\n",
}


@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
async def test_chunks_that_lie_are_refused(scripted_edge: EdgeApp, chunks: bytes) -> None:
    """One 400, and what stands behind the chunks is no request."""
    assert await statuses_of(scripted_edge.port, CHUNKED + chunks + INNER) == [400]


GOOD = {
    "an extension": SIZE + b";name=value\r\n" + BODY + b"\r\n0\r\n\r\n",
    "capitals and zeros": b"000" + SIZE.upper() + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a trailer": SIZE + b"\r\n" + BODY + b"\r\n0\r\nA: b\r\n\r\n",
    "one byte a chunk": b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n",
}


@pytest.mark.parametrize("chunks", GOOD.values(), ids=GOOD)
async def test_chunks_that_are_right_are_read(scripted_edge: EdgeApp, chunks: bytes) -> None:
    """Whatever chunks may hold ends where it says so: the next request is one of its own."""
    data = CHUNKED + chunks + INNER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert await statuses_of(scripted_edge.port, data) == [200, 200]


@pytest.mark.parametrize("num_bytes", [20_000, 2_000_000])
async def test_endless_extensions_and_trailers_are_bounded(
    scripted_edge: EdgeApp, num_bytes: int
) -> None:
    """What is no part of a body has the limit of a header, and memory does not grow with it."""
    for data in (
        SIZE + b";" + b"x" * num_bytes,
        SIZE + b"\r\n" + BODY + b"\r\n0\r\nA: " + b"x" * num_bytes,
        SIZE + b"\r\n" + BODY + b"\r\n0\r\n" + b"A: b\r\n" * (num_bytes // 6),
    ):
        statuses = await statuses_of(scripted_edge.port, CHUNKED + data + b"\r\n" + INNER)
        assert statuses in ([400], [431]), data[:40]
