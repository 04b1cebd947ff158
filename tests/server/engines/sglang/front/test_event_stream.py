"""Events of one request on their way to its reader, without an engine."""

from __future__ import annotations

import asyncio

import pytest
from tokenwire.server.contract.errors import EngineLost
from tokenwire.server.contract.events import (
    ChoiceFinished,
    Finished,
    FinishReason,
    Prefill,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
)
from tokenwire.server.engines.sglang.front.event_stream import EventStream

END = Finished(3, 0)


async def test_stream_in_order() -> None:
    """Events of every kind and choice come as they were put, and nothing comes behind the end."""
    events = [
        Prefill(1, 4),
        Started(4),
        ReasoningDelta("a", 1, (1,)),
        TextDelta("b", 2, (2, 3), choice=1),
        ToolCallDelta(0, "c", "d", "{}"),
        ChoiceFinished(FinishReason.EOS),
        END,
    ]
    stream = EventStream()
    for event in (*events, TextDelta("late", 1)):
        assert stream.has_ended is (event == TextDelta("late", 1))
        stream.put(event)
    assert [await stream.take() for _ in events] == events


async def test_stream_waits_for_news() -> None:
    """A reader who has taken everything waits for the next piece."""
    stream = EventStream()
    stream.put(TextDelta("a", 1, (1,)))
    assert await stream.take() == TextDelta("a", 1, (1,))
    waiting = asyncio.create_task(stream.take(), name="reader")
    await asyncio.sleep(0)
    assert not waiting.done()
    stream.put(TextDelta("b", 1, (2,)))
    assert await waiting == TextDelta("b", 1, (2,))


async def test_stream_failure_comes_at_once() -> None:
    """A dead engine is told before the text that still waits, and its first word stays."""
    stream = EventStream()
    stream.put(TextDelta("a", 1, (1,)))
    stream.fail(EngineLost())
    stream.put(END)
    with pytest.raises(EngineLost):
        await stream.take()


async def test_stream_end_stays() -> None:
    """An engine that dies behind the end of an answer takes nothing of it back."""
    stream = EventStream()
    for event in (TextDelta("a", 1, (1,)), END):
        stream.put(event)
    stream.fail(EngineLost())
    assert [await stream.take(), await stream.take()] == [TextDelta("a", 1, (1,)), END]
