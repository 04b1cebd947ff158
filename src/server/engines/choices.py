"""The choices of one request, generated beside each other, as one generation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from ..contract.events import EngineEvent, Finished, Prefill, Started


async def merge_choices(
    choices: Sequence[AsyncGenerator[EngineEvent]],
) -> AsyncGenerator[EngineEvent]:
    """Yields the events of all choices as they come, with one start and one end in all.

    Each of `choices` is a generation of its own, whose deltas name its choice. The cached tokens
    and the progress of the prefill are those of the first. Closing it closes all of them, and one
    that fails fails all.
    """
    # Whoever does not take an event keeps the choices from bringing more.
    queue = asyncio.Queue[tuple[int, EngineEvent | Exception]](maxsize=1)

    async def read(index: int, choice: AsyncGenerator[EngineEvent]) -> None:
        has_ended = False
        try:
            async with aclosing(choice) as events:
                async for event in events:
                    await queue.put((index, event))
                    has_ended = isinstance(event, Finished)
        except Exception as error:
            if has_ended:
                raise  # asyncio logs it: nobody reads any more, who would wait for it
            await queue.put((index, error))  # raised below, in the task of whoever reads

    tasks = [
        asyncio.create_task(read(index, choice), name=f"choice {index}")
        for index, choice in enumerate(choices)
    ]
    has_started = has_said = False
    ends: dict[int, Finished] = {}
    try:
        while len(ends) < len(tasks):
            index, event = await queue.get()
            match event:
                case Exception():
                    raise event
                case Finished():
                    ends[index] = event
                case Started():
                    if not has_started:
                        has_started = True
                        yield event
                case Prefill():
                    if index == 0 and not has_said:
                        yield event
                case _:
                    has_said = True
                    yield event
        yield Finished(
            sum(end.num_completion_tokens for end in ends.values()),
            ends[0].num_cached_prompt_tokens,
            sum(end.num_reasoning_tokens for end in ends.values()),
        )
    finally:
        for index, task in enumerate(tasks):
            if index not in ends:  # one that has ended is about to let go of its engine
                task.cancel()
        await asyncio.wait(tasks)  # each bounds how long its engine may take to let go
