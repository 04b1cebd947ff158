"""Front and edge that are killed, with streams open."""

from __future__ import annotations

import asyncio
import signal

import aiohttp
import pytest

from .history import End
from .processes import eventually, is_alive, is_listening, running_edge, running_front
from .results import note
from .test_engine_deaths import PACE_S, ROOM, kinds_of, open_streams

pytestmark = pytest.mark.faults


async def test_edge_is_killed() -> None:
    """The engine is freed of its streams at once, those over gRPC go on, the next edge serves."""
    async with (
        running_front(pace_s=PACE_S, **ROOM) as front,
        running_edge(front) as edge,
        open_streams(front, edge, 64, num_tokens=150) as reading,
    ):

        async def is_freed() -> bool:
            return await front.gauge("llm_requests_in_flight") <= 32

        assert await front.gauge("llm_requests_in_flight") == 64
        await edge.kill()
        freed_s = await eventually(is_freed)
        await edge.start()  # the callers over HTTP keep what they got
        histories = await asyncio.gather(*reading)
        assert kinds_of(histories) == []
        assert {history.end for history in histories[0::2]} == {End.FINISHED}
        assert {history.end for history in histories[1::2]} == {End.CUT}
        async with open_streams(front, edge, 4, num_tokens=5) as again:
            assert kinds_of(await asyncio.gather(*again)) == []
    assert freed_s < 30  # 1 s and less on an idle machine; the table has what it took
    note(4, num_open=32, recovery_s=freed_s)


async def test_front_is_killed() -> None:
    """Its engine goes with it, its port is free, and streams of the edge end with an error."""
    async with running_front(pace_s=PACE_S, **ROOM) as front, running_edge(front) as edge:
        (engine_pid,) = front.engine_pids
        async with open_streams(front, edge, 32) as reading:
            front.process.send_signal(signal.SIGKILL)

            async def is_gone() -> bool:
                return not is_alive(engine_pid) and not is_listening(front.port)

            gone_s = await eventually(is_gone)
            histories = await asyncio.gather(*reading)
        assert {history.end for history in histories[1::2]} == {End.FAILED}
        assert {history.end for history in histories[0::2]} == {End.CUT}
        texts = [finding for finding in kinds_of(histories) if finding != "end"]
        assert texts == []
        async with aiohttp.ClientSession(f"http://127.0.0.1:{edge.port}") as http:
            body = {"model": "test/scripted", "text": "x"}
            async with http.post("/tokenwire/v1/generate", json=body) as response:
                assert response.status == 503
    note(5, num_open=32, recovery_s=gone_s)
