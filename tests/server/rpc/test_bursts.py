"""Calls that come all at once, while the event loop is busy with others."""

from __future__ import annotations

import asyncio
import threading

import pytest
from tokenwire.server.rpc import ports

from ...faults.mutated_http2 import WINDOW_UPDATE
from ...faults.raw_http2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    RST_STREAM,
    Connection,
    call_head,
    frame,
)
from ..fronts import start_front
from ..scripted_engine import ScriptedEngine, ScriptedLauncher

GUARD_S = 45.0
HEAD = call_head("/grpc.health.v1.Health/Check")


async def burst_of(port: int, num_calls: int, has_come: threading.Event) -> int:
    """Sends calls on one connection; returns how many of them are answered."""
    last = 2 * num_calls - 1
    async with asyncio.timeout(GUARD_S), await Connection.open(port) as connection:
        await connection.send(frame(WINDOW_UPDATE, 0, 0, (1 << 30).to_bytes(4, "big")))
        for stream in range(1, last + 1, 2):
            await connection.send(
                frame(HEADERS, END_HEADERS, stream, HEAD), frame(DATA, END_STREAM, stream, bytes(5))
            )
        await connection.send(frame(PING, 0, 0, b"all of it"[:8]))
        num_answered = 0
        ended: set[int] = set()
        while len(ended) < num_calls:
            read = await connection.read_frame()
            assert read is not None, "the server hung up"
            kind, flags, stream, _ = read
            if kind == PING and flags:
                has_come.set()
            num_answered += kind == DATA
            if kind == RST_STREAM or (kind == HEADERS and flags & END_STREAM):
                ended.add(stream)
        return num_answered


async def answered(num_connections: int, num_calls: int) -> int:
    """Has all calls come while the event loop stands still; returns how many are answered."""
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        port = client.app.port
        signals = [threading.Event() for _ in range(num_connections)]

        def run(has_come: threading.Event) -> int:
            return asyncio.run(burst_of(port, num_calls, has_come))

        running = [asyncio.get_running_loop().run_in_executor(None, run, each) for each in signals]
        for each in signals:  # gRPC takes what comes in threads of its own
            assert each.wait(GUARD_S)
        return sum(await asyncio.gather(*running))


async def test_as_many_as_two_connections_may_have() -> None:
    """Every one of 1,300 calls that come at once is answered."""
    assert await answered(2, 650) == 1300


async def test_a_burst_at_the_limit_and_above(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the limit wait to be looked at; those beyond it are cut off, and no others."""
    monkeypatch.setattr(ports, "MAX_PENDING_CALLS", 100)
    assert await answered(1, 100) == 100
    assert 100 <= await answered(1, 200) < 200
