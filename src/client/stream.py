"""Answers as they are generated, read by a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import grpc

from ..generated.tokenwire.v1 import chat_pb2
from .answer import Answer, AnswerBuilder
from .course import Course
from .errors import Failure, TokenwireError, ToolLoopUnfinished, error_of, make_error
from .events import Event, ToolResult
from .messages import tool_result
from .tool_choice import after_first_turn
from .toolbox import Toolbox

START_OVER = "a stream is read once; make another call"
NO_END = Failure(grpc.StatusCode.INTERNAL, "the stream ended without its last event")
CLOSED = Failure(grpc.StatusCode.CANCELLED, "the stream was closed")
ENDED = Failure(grpc.StatusCode.CANCELLED, "the server ended the call")


class Stream:
    """One answer. The call begins when it is first read, and ends with whoever reads it.

        for event in client.chat("Hello"):   # leaving the loop cancels the call
            ...
        answer = client.chat("Hello").answer()

    It is read once. Where it is left in the middle by other ways than out of the loop, as by an
    exception that keeps the iterator alive, `close` or `with` ends it.
    """

    def __init__(self, course: Callable[[], Course]) -> None:
        self._course = course
        self._closed = threading.Event()
        self._call: Any = None
        self._is_begun = False

    def __iter__(self) -> Iterator[Event]:
        """Reads the events, in order.

        Raises:
            TokenwireError: the call failed. Where the server says when, and nothing but progress
                had come, it was tried again first.
            StreamLost: the connection was lost, and the request could not be resumed.
        """
        return self._read()

    def answer(self) -> Answer:
        """Reads to the end, and returns all of it; raises as reading does."""
        builder = AnswerBuilder()
        for event in self:
            builder.add(event)
        answer = builder.build()
        assert answer is not None, "a stream that ends well has its last event"
        return answer

    def close(self) -> None:
        """Ends the call; a thread that reads it gets `Cancelled`. Repeatable."""
        self._closed.set()
        if self._call is not None:
            self._call.cancel()

    def __enter__(self) -> Self:
        """Closes it with the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends the call."""
        self.close()

    def _read(self) -> Generator[Event]:
        if self._is_begun:
            raise RuntimeError(START_OVER)
        self._is_begun = True
        course = self._course()
        try:
            while not self._closed.is_set():
                self._call = call = course.start_call()
                if self._closed.is_set():  # by a thread that saw no call yet
                    call.cancel()
                cause: grpc.RpcError | None = None
                try:
                    for response in call:
                        yield from course.take(response)
                except grpc.RpcError as rpc_error:
                    cause = rpc_error
                finally:
                    call.cancel()  # without effect on one that has ended
                if course.is_whole:
                    return
                error = make_error(NO_END) if cause is None else error_of(cause)
                if self._closed.is_set():
                    raise make_error(CLOSED) from cause
                try:
                    delay_s = course.delay_after(error)
                except TokenwireError as last:
                    raise last from cause
                self._closed.wait(delay_s)
            raise make_error(CLOSED)
        finally:
            _leave(course)


class ToolLoop:
    """Turns of a model that calls functions, until it is done. Read it as a `Stream`.

    Between two turns there is a `ToolResult` for every call. `messages` grows by what was said.
    """

    def __init__(
        self,
        ask: Callable[[list[chat_pb2.Message], Mapping[str, Any]], Stream],
        fields: Mapping[str, Any],
        messages: list[chat_pb2.Message],
        toolbox: Toolbox,
        max_turns: int,
    ) -> None:
        self._ask = ask
        self._fields = fields
        self._toolbox = toolbox
        self._max_turns = max_turns
        self._stream: Stream | None = None
        self._answer: Answer | None = None
        self._is_closed = False
        self.messages = messages

    def __iter__(self) -> Iterator[Event]:
        """Reads the events of all turns, in order, and calls the functions between them.

        Raises:
            TokenwireError: a turn failed.
            ToolLoopUnfinished: the model calls functions still after the last turn.
        """
        return self._read()

    def answer(self) -> Answer:
        """Reads to the end, and returns the last turn; raises as reading does."""
        for _ in self:
            pass
        assert self._answer is not None, "a loop that ends well has an answer"
        return self._answer

    def close(self) -> None:
        """Ends the turn that runs, and begins no other."""
        self._is_closed = True
        if self._stream is not None:
            self._stream.close()

    def __enter__(self) -> Self:
        """Closes it with the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends the turn that runs."""
        self.close()

    def _read(self) -> Generator[Event]:
        fields = self._fields
        for _ in range(self._max_turns):
            if self._is_closed:
                raise make_error(CLOSED)
            builder = AnswerBuilder()
            with self._ask(self.messages, fields) as stream:
                self._stream = stream
                for event in stream:
                    builder.add(event)
                    yield event
            self._answer = answer = builder.build()
            assert answer is not None, "a stream that ends well has its last event"
            self.messages.append(answer.message)
            if not answer.tool_calls:
                return
            fields = after_first_turn(fields)
            for call in answer.tool_calls:
                content = self._toolbox.call(call)
                self.messages.append(tool_result(call.id, content))
                yield ToolResult(call.id, call.name, content)
        raise ToolLoopUnfinished(self._max_turns)


def _leave(course: Course) -> None:
    """Ends what still runs on the server, also where the channel was closed before."""
    with suppress(grpc.RpcError, ValueError):
        call = course.start_leaving()
        if call is not None:
            next(call, None)
            call.cancel()
