"""Writes what a request says to one caller."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Final, cast

from ...generated.tokenwire.v1 import inference_pb2
from ..contract.events import (
    ChoiceFinished,
    PromptLogprobs,
    ReasoningDelta,
    TextDelta,
    Told,
    ToolCallDelta,
)
from ..request.answer import collect_answer
from ..request.calls import CallFinished, CallStarted, Decoding, ProgressEvent, Restarting
from ..request.log.batch import Batch
from ..request.log.log_reader import LogReader
from ..settings.fixed_limits import PROGRESS_INTERVAL_S
from .codecs.event_codec import (
    OneText,
    Response,
    add_delta,
    encode_final,
    encode_finished,
    encode_progress,
    encode_started,
)
from .known_context import KnownContext

_ONE_TEXT: Final = {
    response: OneText(response)
    for response in (inference_pb2.GenerateResponse, inference_pb2.ChatResponse)
}


class Sender:
    """Writes what a reader takes from a request's log to one caller, who has got to `position`."""

    __slots__ = (
        "_context",
        "_has_sent",
        "_interval_s",
        "_one_text",
        "_position",
        "_request_id",
        "_response",
        "_wants_token_ids",
    )  # few cache lines: each token touches it

    def __init__(
        self,
        context: KnownContext,
        response: Response,
        request_id: str,
        *,
        wants_progress: bool,
        wants_token_ids: bool,
        position: int = 0,
    ) -> None:
        self._context = context
        self._response = response
        self._request_id = request_id
        self._wants_token_ids = wants_token_ids
        self._interval_s = PROGRESS_INTERVAL_S if wants_progress else None
        self._has_sent = False
        self._position = position
        self._one_text = _ONE_TEXT[response]

    def send(self, reader: LogReader, *, as_one: bool) -> Awaitable[None]:
        """Sends events as they come, or the whole answer as one message."""
        return self.send_final(reader) if as_one else self.send_deltas(reader)

    async def send_deltas(self, reader: LogReader) -> None:
        """Sends events as they come, until the log ends."""
        progress: ProgressEvent | None = None
        has_started = False
        while True:
            batch = reader.take_now()
            if batch is None:
                if reader.has_ended:
                    return
                if self._interval_s is None:
                    await reader.growth()
                elif not await self._grows(reader, self._interval_s):
                    if has_started and not isinstance(progress, Restarting):
                        progress = Decoding(reader.num_tokens)
                    if progress is not None:
                        await self._write(progress=encode_progress(progress))
                continue
            if batch.holds_deltas_alone and self._has_sent:
                # Nearly every batch: no coroutine between this loop and gRPC, which turns a message
                # into bytes before it waits for anything.
                message = self._one_text_of(batch) or self._message_of(batch)
                if message is not None:
                    await self._context.write(message)
                continue
            progress = batch.progress or progress
            has_started = has_started or batch.started is not None
            await self._send(batch)

    async def send_final(self, reader: LogReader) -> None:
        """Sends the whole answer as one message."""
        finished: CallFinished | None = None
        started: CallStarted | None = None
        told: list[Told] = []
        while (batch := await reader.take()) is not None:
            started = batch.started or started
            finished = batch.finished or finished
            told += batch.deltas
        assert started is not None, "a call that succeeds starts with CallStarted"
        assert finished is not None, "a call that succeeds ends with CallFinished"
        final = encode_final(started, collect_answer(told), finished, self._wants_token_ids)
        self._position = reader.position
        await self._write(finished=final)

    async def _grows(self, reader: LogReader, interval_s: float) -> bool:
        try:
            async with asyncio.timeout(interval_s):
                await reader.growth()
        except TimeoutError:
            return False
        return True

    async def _send(self, batch: Batch) -> None:
        # Both come before the deltas, so they have the position of those that went before.
        if batch.progress is not None and self._interval_s is not None:
            await self._write(progress=encode_progress(batch.progress))
        if batch.started is not None:
            await self._write(started=encode_started(batch.started))
        message = self._message_of(batch)
        if message is not None:
            await self._send_message(message)
        if batch.finished is not None:
            await self._write(finished=encode_finished(batch.finished))

    async def _write(self, **event: Any) -> None:
        await self._send_message(self._message(**event))

    async def _send_message(self, message: Any) -> None:
        if not self._has_sent:
            # Not earlier: a call that fails before its first event ends with trailers alone, which
            # clients may retry by themselves.
            self._has_sent = True
            await self._context.send_initial_metadata((("x-request-id", self._request_id),))
        await self._context.write(message)

    def _one_text_of(self, batch: Batch) -> Any:
        """Returns the message of a batch that is one piece of text, None for any other."""
        if len(batch.deltas) == 1 and not self._wants_token_ids:
            delta = batch.deltas[0]
            if isinstance(delta, TextDelta) and delta.text and not delta.logprobs:
                self._position = batch.position
                return self._one_text.fill(batch.position, delta)
        return None

    def _message_of(self, batch: Batch) -> Any:
        """Makes the message of a batch's deltas; None where they say nothing."""
        self._position = batch.position
        message = None
        with_ids = self._wants_token_ids
        for delta in batch.deltas:
            if not _is_empty(delta, with_ids):
                if message is None:
                    message = self._message()
                add_delta(message.deltas, delta, with_ids)
        return message

    def _message(self, **event: Any) -> Any:
        return cast("Any", self._response)(position=self._position, **event)


def _is_empty(delta: Told, with_ids: bool) -> bool:
    """Whether a delta says nothing: tokens of a character that is not whole yet, for example."""
    match delta:
        case TextDelta():
            return not (delta.text or delta.logprobs or (with_ids and delta.token_ids))
        case ReasoningDelta():
            return not (delta.text or (with_ids and delta.token_ids))
        case ToolCallDelta() | ChoiceFinished() | PromptLogprobs():
            return False
