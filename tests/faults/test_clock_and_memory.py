"""A clock that jumps, and memory that runs out."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path
from typing import Any

import grpc
import pytest
from tokenwire.generated.tokenwire.v1 import inference_pb2, inference_pb2_grpc

from .numbered import whole_text
from .processes import Front, eventually, is_alive, running_edge, running_front
from .results import note
from .test_clients_that_leave import read
from .test_engine_deaths import GUARD_S, MODEL, PACE_S, ROOM, kinds_of, open_streams

pytestmark = pytest.mark.faults

_FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
_MB = 1 << 20


@pytest.mark.skipif(_FAKETIME is None, reason="needs the Debian package libfaketime")
async def test_clock_jumps(tmp_path: Path) -> None:
    """A day forward and a year back: streams go on, and deadlines are as long as ever."""
    file = tmp_path / "clock"
    file.write_text("+0d")
    faked = {
        "LD_PRELOAD": str(_FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # as on a machine whose clock is set
    }
    async with (
        running_front(pace_s=PACE_S, **ROOM, **faked) as front,
        running_edge(front, **faked) as edge,
        grpc.aio.insecure_channel(f"127.0.0.1:{front.port}") as channel,
    ):
        stub: Any = inference_pb2_grpc.InferenceServiceStub(channel)
        async with open_streams(front, edge, 16, num_tokens=150) as reading:
            for jump in ("+1d", "-365d"):
                file.write_text(jump)
                assert await read(stub, "new", 20, timeout=GUARD_S) == whole_text("new", 20)
                late = await read(stub, "late", 4000, timeout=0.5)
                assert isinstance(late, grpc.aio.AioRpcError)
                assert late.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert kinds_of(await asyncio.gather(*reading)) == []
        await eventually(front.is_idle)
        assert await front.gauge("llm_engine_restarts_total") == 0
    note(26, num_tried=2, num_open=16)


@pytest.mark.parametrize("room_mb", [24, 96])
async def test_no_memory_left(room_mb: int) -> None:
    """A front that gets no more memory answers each call or ends as a whole: it never hangs."""
    async with running_front(pace_s=PACE_S, **ROOM) as front:
        pid = front.process.pid
        limit = _virtual_bytes(pid) + room_mb * _MB
        resource.prlimit(pid, resource.RLIMIT_AS, (limit, limit))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{front.port}") as channel:
            stub: Any = inference_pb2_grpc.InferenceServiceStub(channel)
            async with asyncio.timeout(GUARD_S * 2):
                ends = await asyncio.gather(*(_ask_much(stub) for _ in range(64)))
            assert len(ends) == 64
            assert await _serves_or_has_ended(front, stub)
    note(26, num_tried=64, num_open=0)


async def _ask_much(stub: Any) -> grpc.StatusCode:
    """Sends a prompt of nearly 4 MB; returns how the call ended."""
    request = inference_pb2.GenerateRequest(model=MODEL, text="x" * 3_900_000)
    request.sampling.max_tokens = 1
    call = stub.Generate(request, timeout=GUARD_S)
    return await call.code()


async def _serves_or_has_ended(front: Front, stub: Any) -> bool:
    if is_alive(front.process.pid):
        answer = await read(stub, "after", 5, timeout=GUARD_S)
        if answer == whole_text("after", 5):
            return True
    # An engine whose front is gone goes with it, and a supervisor starts both anew.
    return bool(await asyncio.wait_for(front.process.wait(), GUARD_S))


def _virtual_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    return pages * resource.getpagesize()
