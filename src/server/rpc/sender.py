"""Writes events to one caller."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from ...generated.tokenwire.v1 import events_pb2, inference_pb2
from ..request.calls import CallFinished, CallStarted, Decoding, ProgressEvent
from ..request.relay import Batch, Relay
from ..settings.limits import PROGRESS_INTERVAL_S
from .proto_codec import (
    encode_choice_finished,
    encode_delta,
    encode_final,
    encode_finished,
    encode_progress,
    encode_started,
)

Context = grpc.aio.ServicerContext[Any, Any]
Response = type[inference_pb2.GenerateResponse] | type[inference_pb2.ChatResponse]


class Sender:
    """Writes what a relay gives to one caller."""

    def __init__(
        self, context: Context, response: Response, call_id: str, wants_progress: bool
    ) -> None:
        self._context = context
        self._response = response
        self._call_id = call_id
        self._wants_progress = wants_progress
        self._has_sent = False
        self._position = 0

    async def send_deltas(self, relay: Relay) -> CallFinished:
        """Sends events as they come, until the relay ends; returns the last one."""
        finished: CallFinished | None = None
        progress: ProgressEvent | None = None
        has_started = False
        while True:
            try:
                async with asyncio.timeout(PROGRESS_INTERVAL_S if self._wants_progress else None):
                    batch = await relay.take()
            except TimeoutError:
                if has_started:
                    progress = Decoding(relay.num_tokens)
                if progress is not None:
                    await self._write(progress=encode_progress(progress))
                continue
            if batch is None:
                assert finished is not None, "a call that succeeds ends with CallFinished"
                return finished
            finished = batch.finished or finished
            progress = batch.progress or progress
            has_started = has_started or batch.started is not None
            await self._send(batch)

    async def send_final(self, relay: Relay) -> CallFinished:
        """Sends the whole answer as one message; returns its end."""
        finished: CallFinished | None = None
        started: CallStarted | None = None
        texts: list[str] = []
        token_ids: list[int] = []
        while (batch := await relay.take()) is not None:
            started = batch.started or started
            finished = batch.finished or finished
            self._position += batch.num_deltas
            if batch.delta is not None:
                texts.append(batch.delta.text)
                token_ids.extend(batch.delta.token_ids)
        assert started is not None, "a call that succeeds begins with CallStarted"
        assert finished is not None, "a call that succeeds ends with CallFinished"
        await self._write(finished=encode_final(started, "".join(texts), token_ids, finished))
        return finished

    async def _send(self, batch: Batch) -> None:
        if batch.progress is not None and self._wants_progress:
            await self._write(progress=encode_progress(batch.progress))
        if batch.started is not None:
            await self._write(started=encode_started(batch.started))
        deltas: list[events_pb2.Delta] = []
        if batch.delta is not None and (batch.delta.text or batch.delta.token_ids):
            deltas.append(encode_delta(batch.delta))
        self._position += batch.num_deltas
        if batch.finished is not None:
            deltas.append(events_pb2.Delta(finished=encode_choice_finished(batch.finished)))
            self._position += 1
        if deltas:
            await self._write(deltas=events_pb2.Deltas(deltas=deltas))
        if batch.finished is not None:
            await self._write(finished=encode_finished(batch.finished))

    async def _write(self, **event: Any) -> None:
        if not self._has_sent:
            # Not earlier: a call that fails before its first event ends with trailers alone, which
            # clients may retry by themselves.
            self._has_sent = True
            await self._context.send_initial_metadata((("x-request-id", self._call_id),))
        await self._context.write(self._response(position=self._position, **event))
