"""Floods of HTTP/2 frames at the gRPC port, a neighbour's stream beside them all the while."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from tokenwire.generated.tokenwire.v1 import inference_pb2, inference_pb2_grpc, sampling_pb2

from .mutated_http2 import PRIORITY, WINDOW_UPDATE
from .numbered import whole_text
from .processes import Front, eventually, running_front
from .raw_http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    Connection,
    call_head,
    frame,
)
from .results import note
from .test_clients_that_leave import read
from .test_engine_deaths import GUARD_S, MODEL, ROOM

pytestmark = pytest.mark.faults

_GENERATE = "/tokenwire.v1.InferenceService/Generate"
_HEAD = call_head(_GENERATE)
_CANCEL = bytes([0, 0, 0, 8])
# Two connections have 2,048 requests at once, whose memory the process keeps for the next ones: so
# it is the same floods again that must not cost it again.
_MAX_GROWTH_BYTES = 128 << 20
_MAX_GROWTH_AGAIN_BYTES = 32 << 20


def _message(num_tokens: int) -> bytes:
    request = inference_pb2.GenerateRequest(
        model=MODEL, text="flood", sampling=sampling_pb2.Sampling(max_tokens=num_tokens)
    )
    data = request.SerializeToString()
    return b"\0" + struct.pack(">I", len(data)) + data


def _rapid_reset() -> Iterator[bytes]:
    """Whole requests, each taken back at once (CVE-2023-44487)."""
    for stream in range(1, 10_000, 2):
        yield (
            frame(HEADERS, END_HEADERS, stream, _HEAD)
            + frame(DATA, END_STREAM, stream, _message(1000))
            + frame(RST_STREAM, 0, stream, _CANCEL)
        )


def _resets_by_the_server() -> Iterator[bytes]:
    """Streams that the server has to reset, as their windows overflow (CVE-2025-8671)."""
    for stream in range(1, 10_000, 2):
        yield frame(HEADERS, END_HEADERS, stream, _HEAD) + frame(
            WINDOW_UPDATE, 0, stream, struct.pack(">I", 2**31 - 1)
        )


def _pings() -> Iterator[bytes]:
    for number in range(20_000):
        yield frame(PING, 0, 0, struct.pack(">Q", number))


def _settings() -> Iterator[bytes]:
    for number in range(20_000):
        yield frame(SETTINGS, 0, 0, struct.pack(">HI", 4, number))


def _empty_frames() -> Iterator[bytes]:
    """Nothing, many times, on a stream that stays open (CVE-2019-9518)."""
    yield frame(HEADERS, END_HEADERS, 1, _HEAD)
    for _ in range(20_000):
        yield frame(DATA, 0, 1)


def _continuations() -> Iterator[bytes]:
    """Headers that never end, in frames of nothing and of a byte (CVE-2024-27316)."""
    yield frame(HEADERS, 0, 1, _HEAD)
    for number in range(20_000):
        yield frame(CONTINUATION, 0, 1, b"" if number % 2 else b"\x80")


def _header_bomb() -> Iterator[bytes]:
    """One header kept in the table, and told again and again by a byte (CVE-2016-6581)."""
    kept = b"\x40\x05x-big\x7f\xa1\x1f" + b"a" * 4000 + b"\xbe" * 12_000
    for stream in range(1, 2_000, 2):
        yield frame(HEADERS, END_HEADERS, stream, _HEAD + kept)


def _windows_of_nothing() -> Iterator[bytes]:
    """Increments of zero, which are a fault, and priorities, which nobody needs."""
    yield frame(HEADERS, END_HEADERS, 1, _HEAD)
    for _ in range(5_000):
        yield (
            frame(PRIORITY, 0, 1, struct.pack(">IB", 3, 16))
            + frame(WINDOW_UPDATE, 0, 1, bytes(4))
            + frame(WINDOW_UPDATE, 0, 0, bytes(4))
        )


def _unread_answers() -> Iterator[bytes]:
    """A window of nothing for the answers of as many requests as a connection may have."""
    yield frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0))
    for stream in range(1, 2_048, 2):
        yield frame(HEADERS, END_HEADERS, stream, _HEAD) + frame(
            DATA, END_STREAM, stream, _message(5)
        )


def _half_bodies() -> Iterator[bytes]:
    """Half a message on each of as many streams as a connection may have."""
    half = _message(5)[:-4]
    for stream in range(1, 2_048, 2):
        yield frame(HEADERS, END_HEADERS, stream, _HEAD) + frame(DATA, 0, stream, half)


def _body_first() -> Iterator[bytes]:
    """Messages on streams that nobody opened."""
    for stream in range(1, 10_000, 2):
        yield frame(DATA, END_STREAM, stream, _message(5))


_FLOODS: list[Callable[[], Iterator[bytes]]] = [
    _rapid_reset,
    _resets_by_the_server,
    _pings,
    _settings,
    _empty_frames,
    _continuations,
    _header_bomb,
    _windows_of_nothing,
    _unread_answers,
    _half_bodies,
    _body_first,
]


async def test_each_flood_hurts_nobody() -> None:
    """A stream beside it is whole, memory stays bounded, and every slot is free afterwards."""
    async with (
        running_front(pace_s=0.01, **ROOM) as front,
        grpc.aio.insecure_channel(f"127.0.0.1:{front.port}") as channel,
    ):
        stub: Any = inference_pb2_grpc.InferenceServiceStub(channel)
        assert await read(stub, "warm", 3) == whole_text("warm", 3)
        before = await front.tell()
        num_served = 0
        grown: list[dict[str, int]] = []
        for _ in range(2):
            grown.append({})
            for flood in _FLOODS:
                num_served += await _beside(front, stub, flood)
                resident_bytes = (await front.tell()).resident_bytes
                grown[-1][flood.__name__] = resident_bytes - before.resident_bytes
        first, again = (max(each.values()) for each in grown)
        assert first < _MAX_GROWTH_BYTES, grown
        assert again - first < _MAX_GROWTH_AGAIN_BYTES, grown
        after = await front.tell()
        assert after.tasks <= before.tasks + 2, (before, after)
        assert after.descriptors <= before.descriptors + 2, (before, after)
    note(16, num_tried=2 * len(_FLOODS), num_open=num_served)


async def _beside(front: Front, stub: Any, flood: Callable[[], Iterator[bytes]]) -> int:
    """Runs a flood on two connections; streams go on beside it, and then nothing is left."""

    async def run() -> None:
        async with await Connection.open(front.port) as connection:
            reading = asyncio.ensure_future(connection.end_of(0))  # as a client does
            for frames in flood():
                if connection.writer.is_closing():  # the server has had enough of it
                    break
                await connection.send(frames)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    num_served = 0
    async with asyncio.timeout(GUARD_S * 2), asyncio.TaskGroup() as tasks:
        floods = [tasks.create_task(run()) for _ in range(2)]
        while not all(each.done() for each in floods) or num_served < 3:
            name = f"{flood.__name__}-{num_served}"
            assert await read(stub, name, 5) == whole_text(name, 5), name
            num_served += 1
    assert front.process.returncode is None
    await eventually(front.is_idle)
    return num_served
