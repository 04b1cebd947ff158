"""Several prompts in one request: a call of the front for each, told as one answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing
from typing import TypeVar

from ...generated.tokenwire.v1 import events_pb2, inference_pb2
from ...lifecycle import end_tasks
from ..errors import CallFailed
from .json_codec import sum_usage

T = TypeVar("T")

Response = inference_pb2.GenerateResponse


async def gather(calls: Sequence[Awaitable[T]]) -> list[T]:
    """Returns the results of calls that run at once. One that fails ends the others.

    Raises:
        CallFailed: the first one that failed.
    """

    async def call(index: int, awaitable: Awaitable[T]) -> T:
        try:
            return await awaitable
        except Exception as error:
            raise CallFailed(index, error) from error

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call(*numbered)) for numbered in enumerate(calls)]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


async def merge(
    streams: Sequence[AsyncGenerator[Response]], num_choices: int
) -> AsyncGenerator[Response]:
    """Yields the events of several streams as those of one, whose choices are numbered through.

    Nothing is yielded before every request is accepted, which their progress tells: so a prompt
    that is refused is a failure of the whole request, and not the end of a stream. Closing the
    iterator closes the streams.

    Raises:
        CallFailed: the first one that failed.
    """
    # Of one place: a stream waits for whoever reads.
    queue: asyncio.Queue[tuple[int, Response | Exception]] = asyncio.Queue(1)
    tasks = [
        asyncio.create_task(_pump(index, events, queue), name=f"prompt {index}")
        for index, events in enumerate(streams)
    ]
    try:
        pending = set(range(len(streams)))
        early: list[Response] = []
        usages: list[events_pb2.Usage] = []
        has_started = False
        while len(usages) < len(streams):
            index, event = await queue.get()
            if isinstance(event, Exception):
                raise CallFailed(index, event) from event
            pending.discard(index)
            kind = event.WhichOneof("event")
            if kind == "finished":
                usages.append(event.finished.usage)
            elif kind == "deltas":
                for delta in event.deltas.deltas:
                    delta.choice += index * num_choices
                early.append(event)
            elif kind == "started" and not has_started:  # one stream starts once
                early.append(event)
                has_started = True
            if has_started and not pending:
                for ready in early:
                    yield ready
                early.clear()
        yield Response(finished=events_pb2.Finished(usage=sum_usage(usages)))
    finally:
        await end_tasks(*tasks)


async def _pump(
    index: int,
    events: AsyncGenerator[Response],
    queue: asyncio.Queue[tuple[int, Response | Exception]],
) -> None:
    try:
        async with aclosing(events):
            async for event in events:
                await queue.put((index, event))
    except Exception as error:  # noqa: BLE001 - the top of a task; raised by who reads the queue
        await queue.put((index, error))
