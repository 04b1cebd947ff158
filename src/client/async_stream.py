"""Answers as they are generated, read by a task of asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, suppress
from types import TracebackType
from typing import Any, Self

import grpc

from ..generated.tokenwire.v1 import chat_pb2
from .answer import Answer, AnswerBuilder
from .course import Course
from .errors import TokenwireError, ToolLoopUnfinished, error_of, make_error
from .events import Event, ToolResult
from .messages import tool_result
from .stream import CLOSED, ENDED, NO_END, START_OVER
from .tool_choice import after_first_turn
from .toolbox import Toolbox


class AsyncStream:
    """One answer. The call begins when it is first read; otherwise as `Stream`.

        async with client.chat("Hello") as stream:   # leaving the block cancels the call
            async for event in stream:
                ...
        answer = await client.chat("Hello").answer()

    Out of a loop without `async with` the call is cancelled, too, in a later turn of the event
    loop. Cancelling the task that reads ends the call at once.
    """

    def __init__(self, course: Callable[[], Course]) -> None:
        self._course = course
        self._closed = asyncio.Event()
        self._call: Any = None
        self._is_begun = False

    def __aiter__(self) -> AsyncIterator[Event]:
        """Reads the events, in order; raises as `Stream.__iter__`."""
        return self._read()

    async def answer(self) -> Answer:
        """Reads to the end, and returns all of it; raises as reading does."""
        builder = AnswerBuilder()
        async with aclosing(self._read()) as events:
            async for event in events:
                builder.add(event)
        answer = builder.build()
        assert answer is not None, "a stream that ends well has its last event"
        return answer

    def close(self) -> None:
        """Ends the call; a task that reads it gets `Cancelled`. Repeatable."""
        self._closed.set()
        if self._call is not None:
            self._call.cancel()

    async def __aenter__(self) -> Self:
        """Closes it with the block."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends the call."""
        self.close()

    async def _read(self) -> AsyncGenerator[Event]:
        if self._is_begun:
            raise RuntimeError(START_OVER)
        self._is_begun = True
        course = self._course()
        try:
            while not self._closed.is_set():
                self._call = call = course.start_call()
                cause: grpc.RpcError | None = None
                end = NO_END
                try:
                    async for response in call:
                        for event in course.take(response):
                            yield event
                except grpc.RpcError as rpc_error:
                    cause = rpc_error
                except asyncio.CancelledError:
                    task = asyncio.current_task()
                    if task is None or task.cancelling():
                        raise
                    # It is the call that was cancelled: by `close`, or by a server that ended.
                    if self._closed.is_set():
                        break
                    end = ENDED
                finally:
                    call.cancel()  # without effect on one that has ended
                if course.is_whole:
                    return
                error = make_error(end) if cause is None else error_of(cause)
                if self._closed.is_set():
                    raise make_error(CLOSED) from cause
                try:
                    delay_s = course.delay_after(error)
                except TokenwireError as last:
                    raise last from cause
                await _wait(self._closed, delay_s)
            raise make_error(CLOSED)
        finally:
            await _leave(course)


class AsyncToolLoop:
    """Turns of a model that calls functions, until it is done; otherwise as `ToolLoop`."""

    def __init__(
        self,
        ask: Callable[[list[chat_pb2.Message], Mapping[str, Any]], AsyncStream],
        fields: Mapping[str, Any],
        messages: list[chat_pb2.Message],
        toolbox: Toolbox,
        max_turns: int,
    ) -> None:
        self._ask = ask
        self._fields = fields
        self._toolbox = toolbox
        self._max_turns = max_turns
        self._stream: AsyncStream | None = None
        self._answer: Answer | None = None
        self._is_closed = False
        self.messages = messages

    def __aiter__(self) -> AsyncIterator[Event]:
        """Reads the events of all turns, in order; raises as `ToolLoop.__iter__`."""
        return self._read()

    async def answer(self) -> Answer:
        """Reads to the end, and returns the last turn; raises as reading does."""
        async with aclosing(self._read()) as events:
            async for _ in events:
                pass
        assert self._answer is not None, "a loop that ends well has an answer"
        return self._answer

    def close(self) -> None:
        """Ends the turn that runs, and begins no other."""
        self._is_closed = True
        if self._stream is not None:
            self._stream.close()

    async def __aenter__(self) -> Self:
        """Closes it with the block."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends the turn that runs."""
        self.close()

    async def _read(self) -> AsyncGenerator[Event]:
        fields = self._fields
        for _ in range(self._max_turns):
            if self._is_closed:
                raise make_error(CLOSED)
            builder = AnswerBuilder()
            async with self._ask(self.messages, fields) as stream:
                self._stream = stream
                async for event in stream:
                    builder.add(event)
                    yield event
            self._answer = answer = builder.build()
            assert answer is not None, "a stream that ends well has its last event"
            self.messages.append(answer.message)
            if not answer.tool_calls:
                return
            fields = after_first_turn(fields)
            for call in answer.tool_calls:
                content = await self._toolbox.call_async(call)
                self.messages.append(tool_result(call.id, content))
                yield ToolResult(call.id, call.name, content)
        raise ToolLoopUnfinished(self._max_turns)


async def _wait(closed: asyncio.Event, delay_s: float) -> None:
    """Waits, or until it is closed."""
    try:
        async with asyncio.timeout(delay_s):
            await closed.wait()
    except TimeoutError:
        return


async def _leave(course: Course) -> None:
    """Ends what still runs on the server, also where the channel was closed before."""
    with suppress(grpc.RpcError, grpc.aio.UsageError):
        call = course.start_leaving()
        if call is not None:
            await call.read()
            call.cancel()
