"""Clients that storm, stall and give up at random; what they held comes back."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
from typing import Any

import grpc
import pytest
from tokenwire.generated.tokenwire.v1 import inference_pb2, inference_pb2_grpc

from .numbered import whole_text
from .processes import descriptors_of, eventually, resident_bytes, running_edge, running_front
from .results import note
from .test_engine_deaths import GUARD_S, MODEL, ROOM, kinds_of, open_streams

pytestmark = pytest.mark.faults

_RESET = struct.pack("ii", 1, 0)


async def sse_socket(port: int, name: str, num_tokens: int) -> socket.socket:
    """Asks for a stream on a socket of its own, and reads its head."""
    loop = asyncio.get_running_loop()
    opened = socket.socket()
    opened.setblocking(False)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await loop.sock_connect(opened, ("127.0.0.1", port))
    sampling = {"maxTokens": num_tokens, "ignoreEos": True}
    body = json.dumps({"model": MODEL, "text": name, "sampling": sampling})
    head = "POST /tokenwire/v1/generate HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n{body}"
    await loop.sock_sendall(opened, request.encode())
    first = await loop.sock_recv(opened, 1024)
    assert b" 200 " in first, first
    return opened


def reset(opened: socket.socket) -> None:
    """Closes a socket as a crashed client does: RST."""
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    opened.close()


async def test_disconnect_storm() -> None:
    """Ten times 500 clients read a little and vanish: nothing of them stays."""
    crowd = {"LLM_MAX_CONCURRENT_REQUESTS": "500", "LLM_MAX_QUEUED_REQUESTS": "1000"}
    async with running_front(pace_s=0.2, **crowd) as front, running_edge(front) as edge:
        held, freed_s = [], []
        for _ in range(10):
            async with asyncio.timeout(GUARD_S):
                sockets = await asyncio.gather(
                    *(sse_socket(edge.port, f"s{i}", 4000) for i in range(500))
                )
            assert await front.gauge("llm_requests_in_flight") == 500
            for opened in sockets:
                reset(opened)
            freed_s.append(await eventually(front.is_idle))

            async def is_closed() -> bool:
                return descriptors_of(edge.pid) < 100

            await eventually(is_closed)
            held.append((await front.tell(), descriptors_of(edge.pid)))
        assert await front.gauge("llm_requests_aborted_total") == 5000
    assert held[-1][0].descriptors <= held[0][0].descriptors
    assert held[-1][0].tasks <= held[0][0].tasks
    assert held[-1][1] <= held[0][1]
    note(7, num_tried=10, num_open=500, num_lost=None, num_doubled=None, recovery_s=max(freed_s))


async def test_clients_that_stop_reading() -> None:
    """Over SSE they are ended at the limit of a write; memory stays, others are not hurt."""
    async with (
        running_front(pace_s=0.02, LLM_MAX_TOKENS_LIMIT="4000", **ROOM) as front,
        running_edge(front, LLM_HTTP_WRITE_TIMEOUT_S="2") as edge,
    ):
        async with open_streams(front, edge, 2) as warm:
            await asyncio.gather(*warm)
        before = resident_bytes(front.process.pid), resident_bytes(edge.pid)
        stuck = [await sse_socket(edge.port, f"stuck{'x' * 1500}{i}", 2000) for i in range(16)]
        async with open_streams(front, edge, 8, num_tokens=200) as reading:
            assert kinds_of(await asyncio.gather(*reading)) == []

        freed_s = await eventually(front.is_idle)
        after = resident_bytes(front.process.pid), resident_bytes(edge.pid)
        assert await front.gauge("llm_requests_aborted_total") == 16
        for opened in stuck:
            opened.close()
    assert after[0] - before[0] < 64 << 20
    assert after[1] - before[1] < 64 << 20
    note(6, num_tried=16, num_open=24, recovery_s=freed_s)


async def test_a_full_queue() -> None:
    """Of 64 calls 4 run, 8 wait and 52 are refused with a time to retry; all 12 are answered."""
    room = {"LLM_MAX_CONCURRENT_REQUESTS": "4", "LLM_MAX_QUEUED_REQUESTS": "8"}
    async with running_front(pace_s=0.1, **room) as front:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{front.port}") as channel:
            stub: Any = inference_pb2_grpc.InferenceServiceStub(channel)
            ends = await asyncio.gather(*(read(stub, f"s{i}", 30) for i in range(64)))
        assert await front.gauge("llm_requests_rejected_total") == 52
    told = [end for end in ends if isinstance(end, str)]
    refused = [end for end in ends if isinstance(end, grpc.aio.AioRpcError)]
    assert sorted(told) == sorted(
        whole_text(f"s{i}", 30) for i, end in enumerate(ends) if isinstance(end, str)
    )
    assert (len(told), len(refused)) == (12, 52)
    assert {end.code() for end in refused} == {grpc.StatusCode.UNAVAILABLE}
    assert all(dict(end.trailing_metadata())["grpc-retry-pushback-ms"] for end in refused)
    note(12, num_tried=64, num_open=12)


async def read(stub: Any, name: str, num_tokens: int, **options: Any) -> str | Exception:
    """Reads a stream; returns its text, or how it failed."""
    request = inference_pb2.GenerateRequest(model=MODEL, text=name)
    request.sampling.max_tokens = num_tokens
    try:
        return "".join(
            [
                delta.text.text
                async for response in stub.Generate(request, **options)
                for delta in response.deltas.deltas
            ]
        )
    except grpc.aio.AioRpcError as error:
        return error


@pytest.mark.parametrize("num_calls", [10_000])
async def test_no_slot_leaks(num_calls: int) -> None:
    """Random cancels, deadlines and bad calls leave every slot free, and no task behind."""
    rng = random.Random(28)
    async with (
        running_front(pace_s=0.002, **ROOM) as front,
        grpc.aio.insecure_channel(f"127.0.0.1:{front.port}") as channel,
    ):
        stub: Any = inference_pb2_grpc.InferenceServiceStub(channel)
        assert await read(stub, "warm", 3) == whole_text("warm", 3)
        before = await front.tell()
        places = asyncio.Semaphore(100)

        async def one(i: int, kind: str, after: int, timeout_s: float) -> None:
            async with places:
                name = f"s{i}"
                if kind == "deadline":
                    await read(stub, name, 50, timeout=timeout_s)
                elif kind == "bad":
                    failed = await read(stub, "", 50)
                    assert isinstance(failed, grpc.aio.AioRpcError)
                    assert failed.code() is grpc.StatusCode.INVALID_ARGUMENT
                elif kind == "whole":
                    assert await read(stub, name, 10) == whole_text(name, 10)
                else:
                    request = inference_pb2.GenerateRequest(model=MODEL, text=name)
                    request.sampling.max_tokens = 50
                    call = stub.Generate(request)
                    for _ in range(after):
                        await call.read()
                    call.cancel()

        async with asyncio.timeout(500), asyncio.TaskGroup() as tasks:
            for i in range(num_calls):
                kind = rng.choice(["deadline", "bad", "whole", "cancel", "cancel"])
                tasks.create_task(one(i, kind, rng.randrange(4), rng.uniform(0.001, 0.1)))
        freed_s = await eventually(front.is_idle)
        after = await front.tell()
        # All slots are free: as many as there are run at once.
        ends = await asyncio.gather(*(read(stub, f"end{i}", 5) for i in range(64)))
    assert ends == [whole_text(f"end{i}", 5) for i in range(64)]
    assert after.tasks <= before.tasks
    assert after.descriptors <= before.descriptors
    note(28, num_tried=num_calls, num_open=100, recovery_s=freed_s)
