"""What no well-made client sends to the gRPC port."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from tokenwire.generated.tokenwire.v1 import inference_pb2, inference_pb2_grpc

from .numbered import whole_text
from .processes import eventually, resident_bytes, running_front
from .raw_http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    RST_STREAM,
    Connection,
    call_head,
    frame,
)
from .results import note
from .test_clients_that_leave import read
from .test_engine_deaths import GUARD_S, ROOM

pytestmark = pytest.mark.faults

_GENERATE = "/tokenwire.v1.InferenceService/Generate"
_LIST = "/tokenwire.v1.InferenceService/ListModels"
_BODIES = {
    "a length beyond everything": b"\x00\xff\xff\xff\xffabc",
    "a length beyond the message": b"\x00\x00\x00\x00\x64abc",
    "compression that nobody named": b"\x01\x00\x00\x00\x03abc",
    "an unknown flag": b"\x07\x00\x00\x00\x03abc",
    "half a length": b"\x00\x00",
    "two messages": b"\x00\x00\x00\x00\x00" * 2,
    "no message": b"",
    "broken protobuf": b"\x00\x00\x00\x00\x03\xff\xff\xff",
}
# gRPC's own server waits for the rest, though the stream has ended; its client has to leave.
_CUT_SHORT = (_BODIES["a length beyond the message"], _BODIES["half a length"], b"")
_TELLS_TOO_MUCH = (
    "Traceback",
    "Error(",
    "google.protobuf",
    "tokenwire.server",
    ".py",
    "DecodeError",
)


async def test_broken_messages() -> None:
    """Each call ends, the next one on the same connection is answered, nothing inner is told."""
    async with running_front(pace_s=0.01, **ROOM) as front:
        for body in _BODIES.values():
            async with asyncio.timeout(GUARD_S), await Connection.open(front.port) as connection:
                await connection.send(
                    frame(HEADERS, END_HEADERS, 1, call_head(_GENERATE)),
                    frame(DATA, END_STREAM, 1, body),
                )
                if body in _CUT_SHORT:
                    await connection.send(frame(RST_STREAM, 0, 1, bytes([0, 0, 0, 8])))
                else:
                    _, is_over = await connection.end_of(1)
                    assert not is_over, body
                await connection.send(
                    frame(HEADERS, END_HEADERS, 3, call_head(_LIST)),
                    frame(DATA, END_STREAM, 3, bytes(5)),
                )
                data, _ = await connection.end_of(3)
                assert b"test/scripted" in data, body
        async with grpc.aio.insecure_channel(f"127.0.0.1:{front.port}") as channel:
            for path, data, codes in (
                (_GENERATE, b"\xff\xff\xff", ("INVALID_ARGUMENT", "INTERNAL")),
                (_GENERATE, b"\x12\xff\xff\xff\xff\x0f", ("INVALID_ARGUMENT", "INTERNAL")),
                ("/tokenwire.v1.InferenceService/Nothing", b"", ("UNIMPLEMENTED",)),
                ("/nothing/at/all", b"", ("UNIMPLEMENTED",)),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as failure:
                    await channel.unary_unary(path)(data)
                assert failure.value.code().name in codes
                told = failure.value.details() or ""
                assert not [word for word in _TELLS_TOO_MUCH if word in told], told
        await eventually(front.is_idle)
    note(15, num_tried=len(_BODIES) + 4)


async def test_floods() -> None:
    """Thousands of resets, endless headers and large metadata hurt nobody else, nor memory."""
    async with (
        running_front(pace_s=0.01, **ROOM) as front,
        grpc.aio.insecure_channel(f"127.0.0.1:{front.port}") as channel,
    ):
        stub: Any = inference_pb2_grpc.InferenceServiceStub(channel)
        assert await read(stub, "warm", 3) == whole_text("warm", 3)
        before = resident_bytes(front.process.pid)

        async def resets() -> None:
            head = call_head(_GENERATE)
            async with await Connection.open(front.port) as connection:
                for stream in range(1, 10_000, 2):
                    await connection.send(
                        frame(HEADERS, END_HEADERS, stream, head),
                        frame(RST_STREAM, 0, stream, bytes([0, 0, 0, 8])),
                    )

        async def headers_without_end() -> None:
            async with await Connection.open(front.port) as connection:
                await connection.send(frame(HEADERS, 0, 1, call_head(_GENERATE)))
                for i in range(2000):
                    more = b"\x00\x05x-%03d\x7f\x80\x3e" % (i % 1000) + b"a" * 8063
                    await connection.send(frame(CONTINUATION, 0, 1, more))

        async def large_metadata() -> None:
            request = inference_pb2.ListModelsRequest()
            for _ in range(50):
                with pytest.raises(grpc.aio.AioRpcError):
                    await stub.ListModels(request, metadata=(("x-large", "a" * 17_000),))

        async with asyncio.timeout(GUARD_S * 2), asyncio.TaskGroup() as tasks:
            floods = [tasks.create_task(flood()) for flood in (resets, headers_without_end)]
            floods.append(tasks.create_task(large_metadata()))
            num_served = 0
            while not all(flood.done() for flood in floods) or num_served < 10:
                name = f"s{num_served}"
                assert await read(stub, name, 5) == whole_text(name, 5)
                num_served += 1
        await eventually(front.is_idle)
        assert resident_bytes(front.process.pid) - before < 64 << 20
    note(16, num_tried=3, num_open=num_served)
