"""Events of one request on their way to its reader, without an engine."""

from __future__ import annotations

import asyncio

import pytest
from tokenwire.server.contract.engine import (
    Delta,
    Finished,
    FinishReason,
    Started,
)
from tokenwire.server.contract.errors import EngineLost
from tokenwire.server.engines.sglang.front.event_stream import EventStream

END = Finished(FinishReason.EOS, 3, 0)


async def test_stream_in_order() -> None:
    """Acceptance, text, end."""
    stream = EventStream()
    stream.start(Started(4))
    stream.append("a", (1,))
    stream.append("b", (2, 3))
    stream.end(END)
    assert [await stream.take() for _ in range(3)] == [
        Started(4),
        Delta("ab", 3, (1, 2, 3)),
        END,
    ]


async def test_stream_waits_for_news() -> None:
    """A reader who has taken everything waits for the next piece."""
    stream = EventStream()
    stream.append("a", (1,))
    assert await stream.take() == Delta("a", 1, (1,))
    waiting = asyncio.create_task(stream.take(), name="reader")
    await asyncio.sleep(0)
    assert not waiting.done()
    stream.append("b", (2,))
    assert await waiting == Delta("b", 1, (2,))


async def test_stream_failure_comes_at_once() -> None:
    """A dead engine is told before the text that still waits, and its first word stays."""
    stream = EventStream()
    stream.append("a", (1,))
    stream.end(EngineLost())
    stream.end(END)
    with pytest.raises(EngineLost):
        await stream.take()
