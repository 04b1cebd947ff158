"""Several generations as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pytest
from tokenwire.server.contract.errors import EngineLost
from tokenwire.server.contract.events import (
    ChoiceFinished,
    EngineEvent,
    Finished,
    FinishReason,
    Prefill,
    Started,
    TextDelta,
)
from tokenwire.server.engines.choices import merge_choices


class Scripted:
    """Generations that say what they are given, fail where that is an error, and are closed."""

    def __init__(self) -> None:
        self.num_open = 0

    async def say(self, events: Sequence[EngineEvent | Exception]) -> AsyncGenerator[EngineEvent]:
        self.num_open += 1
        try:
            for event in events:
                if isinstance(event, Exception):
                    raise event
                yield event
            if not isinstance(events[-1], Finished):
                await asyncio.Event().wait()  # until it is closed
        finally:
            self.num_open -= 1


def script(choice: int, text: str = "a") -> list[EngineEvent]:
    """All of one choice."""
    return [
        Started(3 + choice),
        Prefill(5, 5),
        TextDelta(text, 1, choice=choice),
        ChoiceFinished(FinishReason.EOS, choice=choice),
        Finished(2, 3 + choice, 1),
    ]


async def test_one_start_and_one_end() -> None:
    """The start, the prefill and the cached tokens are the first one's; tokens are summed."""
    scripted = Scripted()
    merged = merge_choices([scripted.say(script(choice)) for choice in range(3)])
    events = [event async for event in merged]
    assert [event for event in events if isinstance(event, Started)] == [Started(3)]
    assert [event for event in events if isinstance(event, Prefill)] == [Prefill(5, 5)]
    assert events[-1] == Finished(6, 3, 3)
    for choice in range(3):
        own = [event for event in events if getattr(event, "choice", None) == choice]
        assert own == script(choice)[2:4]
    assert scripted.num_open == 0


async def test_failure_of_one_ends_all() -> None:
    """The failure of one choice is raised, once the others are closed."""
    scripted = Scripted()
    scripts = [[Started(), EngineLost("it died")], [Started()], [Started(), TextDelta("a", 1)]]
    async with aclosing(merge_choices([scripted.say(each) for each in scripts])) as events:
        with pytest.raises(EngineLost, match="it died"):
            await read_all(events)
    assert scripted.num_open == 0


async def read_all(events: AsyncGenerator[EngineEvent]) -> list[EngineEvent]:
    return [event async for event in events]


async def test_close_closes_all() -> None:
    """Closing it closes every choice before it returns, those too that nobody heard."""
    scripted = Scripted()
    merged = merge_choices([scripted.say([Started(), TextDelta("a", 1)]) for _ in range(3)])
    await anext(merged)
    await merged.aclose()
    assert scripted.num_open == 0


async def test_end_waits_until_all_have_let_go() -> None:
    """Its end comes behind that of every choice, however long one takes to let go."""
    has_let_go = 0

    async def slow() -> AsyncGenerator[EngineEvent]:
        nonlocal has_let_go
        try:
            yield Started()
            yield Finished(1, 0)
        finally:
            for _ in range(20):
                await asyncio.sleep(0)  # as an engine that is asked until it has let go
            has_let_go += 1

    assert await read_all(merge_choices([slow(), slow()])) == [Started(), Finished(2, 0)]
    assert has_let_go == 2


async def test_slow_reader_is_waited_for() -> None:
    """No choice runs ahead of a reader by more than what is on its way."""
    scripted = Scripted()
    num_said = 0

    async def endless() -> AsyncGenerator[EngineEvent]:
        nonlocal num_said
        yield Started()
        while True:  # until it is closed
            num_said += 1
            yield TextDelta("a", 1)

    merged = merge_choices([endless(), scripted.say([Started()])])
    for _ in range(5):
        await anext(merged)
    for _ in range(50):
        await asyncio.sleep(0)  # turns of the loop in which it could run ahead
    await merged.aclose()
    assert num_said < 10
