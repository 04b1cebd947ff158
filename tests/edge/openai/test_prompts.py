"""Several calls told as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from tokenwire.edge.errors import CallFailed
from tokenwire.edge.openai.prompts import gather, merge
from tokenwire.generated.tokenwire.v1.events_pb2 import (
    Delta,
    Deltas,
    Finished,
    Progress,
    Started,
    TextDelta,
    Usage,
)
from tokenwire.generated.tokenwire.v1.inference_pb2 import GenerateResponse

STARTED = GenerateResponse(started=Started(model="m"))
QUEUED = GenerateResponse(progress=Progress(queued=Progress.Queued(place=1)))
FINISHED = GenerateResponse(finished=Finished(usage=Usage(num_prompt_tokens=1)))


class Refused(Exception):
    """A call that fails."""


def deltas(text: str, choice: int = 0) -> GenerateResponse:
    return GenerateResponse(deltas=Deltas(deltas=[Delta(choice=choice, text=TextDelta(text=text))]))


class Streams:
    """Streams that a test steps by hand."""

    def __init__(self, number: int) -> None:
        self._events: list[asyncio.Queue[Any]] = [asyncio.Queue() for _ in range(number)]
        self.closed: list[int] = []

    def say(self, index: int, *events: Any) -> None:
        for event in events:
            self._events[index].put_nowait(event)

    async def _stream(self, index: int) -> AsyncGenerator[GenerateResponse]:
        try:
            while (event := await self._events[index].get()) is not None:
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.closed.append(index)

    def merged(self, num_choices: int = 1) -> AsyncGenerator[GenerateResponse]:
        streams = [self._stream(index) for index in range(len(self._events))]
        return merge(streams, num_choices)


async def test_choices_are_numbered_through_and_tokens_summed() -> None:
    """One start, every delta under its own number, one end."""
    streams = Streams(2)
    streams.say(0, STARTED, deltas("a", 1), FINISHED, None)
    streams.say(1, STARTED, deltas("b"), FINISHED, None)
    events = [event async for event in streams.merged(num_choices=2)]
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds == ["started", "deltas", "deltas", "finished"]
    said = {d.choice: d.text.text for event in events for d in event.deltas.deltas}
    assert said == {1: "a", 2: "b"}
    assert events[-1].finished.usage.num_prompt_tokens == 2


async def test_nothing_is_told_before_all_are_accepted() -> None:
    """One that waits for its turn is accepted; one that says nothing yet may be refused."""
    streams = Streams(2)
    merged = streams.merged()
    streams.say(0, STARTED, deltas("a"))
    first = asyncio.ensure_future(anext(merged))
    streams.say(1, Refused())
    with pytest.raises(CallFailed) as caught:
        await first
    assert (caught.value.index, type(caught.value.error)) == (1, Refused)
    assert sorted(streams.closed) == [0, 1]


async def test_one_in_the_queue_does_not_hold_back_the_others() -> None:
    """Its progress says that it is accepted."""
    streams = Streams(2)
    merged = streams.merged()
    streams.say(1, QUEUED)
    streams.say(0, STARTED, deltas("a"))
    assert (await anext(merged)).WhichOneof("event") == "started"
    assert (await anext(merged)).deltas.deltas[0].text.text == "a"
    await merged.aclose()
    assert sorted(streams.closed) == [0, 1]


async def test_one_that_fails_later_ends_all() -> None:
    """Its failure is raised with its number, and the other calls are closed."""
    streams = Streams(2)
    merged = streams.merged()
    streams.say(0, STARTED)
    streams.say(1, STARTED)
    assert (await anext(merged)).WhichOneof("event") == "started"
    streams.say(0, Refused())
    with pytest.raises(CallFailed) as caught:
        await anext(merged)
    assert (caught.value.index, type(caught.value.error)) == (0, Refused)
    assert sorted(streams.closed) == [0, 1]


async def test_gather_returns_all_in_order() -> None:
    """Whichever is first."""
    turn = asyncio.Event()

    async def late() -> str:
        await turn.wait()
        return "late"

    async def early() -> str:
        turn.set()
        return "early"

    assert await gather([late(), early()]) == ["late", "early"]


async def test_gather_ends_all_with_the_first_failure() -> None:
    """The others are cancelled, and the failure comes with the number of its call."""
    cancelled = asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def refused() -> None:
        raise Refused

    with pytest.raises(CallFailed) as caught:
        await gather([endless(), refused()])
    assert (caught.value.index, type(caught.value.error)) == (1, Refused)
    assert cancelled.is_set()


async def test_calls_that_fail_at_once_are_not_mixed_up() -> None:
    """The number that is told is that of the call whose failure is told."""
    turn = asyncio.Event()

    async def refused(index: int) -> None:
        await turn.wait()
        raise Refused(index)

    async def last() -> None:
        turn.set()
        await asyncio.Event().wait()

    with pytest.raises(CallFailed) as caught:
        await gather([refused(0), refused(1), refused(2), last()])
    assert caught.value.error.args == (caught.value.index,)
