"""The gRPC face: requests in, events out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeVar

import grpc
import structlog

from ..generated.tokenwire.v1 import events_pb2, inference_pb2, inference_pb2_grpc
from .calls import Call, Decoding, ProgressEvent, Started, Summary
from .errors import Draining, InferenceError
from .inference import Inference
from .interceptors import request_id
from .limits import PROGRESS_INTERVAL_S
from .metrics import ModelMetrics
from .models import Models
from .proto_codec import (
    Request,
    decode_chat,
    decode_generate,
    encode_choice_finished,
    encode_delta,
    encode_final,
    encode_finished,
    encode_models,
    encode_progress,
    encode_started,
)
from .relay import Batch, Relay
from .validation import validate

_logger = structlog.get_logger(__name__)

_RequestT = TypeVar("_RequestT", bound=Request)
_Context = grpc.aio.ServicerContext[Any, Any]
_Response = type[inference_pb2.GenerateResponse] | type[inference_pb2.ChatResponse]


class InferenceService(inference_pb2_grpc.InferenceServiceServicer):
    """Serves Generate, Chat and ListModels."""

    def __init__(
        self, inference: Inference, models: Models, metrics: ModelMetrics, max_output_tokens: int
    ) -> None:
        self._inference = inference
        self._models = models
        self._metrics = metrics
        self._max_output_tokens = max_output_tokens
        self._relays: set[Relay] = set()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._is_draining = False

    async def Generate(  # type: ignore[override]  # typed for generators only
        self, request: inference_pb2.GenerateRequest, context: _Context
    ) -> None:
        """Continues a prompt."""
        await self._serve(request, context, decode_generate, inference_pb2.GenerateResponse)

    async def Chat(  # type: ignore[override]  # typed for generators only
        self, request: inference_pb2.ChatRequest, context: _Context
    ) -> None:
        """Answers a conversation."""
        await self._serve(request, context, decode_chat, inference_pb2.ChatResponse)

    async def ListModels(
        self,
        request: inference_pb2.ListModelsRequest,  # noqa: ARG002 - it has no fields
        context: _Context,  # noqa: ARG002
    ) -> inference_pb2.ListModelsResponse:
        """Lists the models and their adapters, and where each one stands."""
        return encode_models(self._models.views, self._max_output_tokens)

    def refuse_new(self) -> None:
        """Answers every new call with DRAINING from now on."""
        self._is_draining = True

    async def wait_idle(self) -> None:
        """Returns once no call is being served."""
        await self._is_idle.wait()

    def end_all(self) -> None:
        """Ends every call that is being served with DRAINING."""
        for relay in self._relays:
            relay.close(Draining("the server shut down before the answer was complete"))

    async def _serve(
        self,
        request: _RequestT,
        context: _Context,
        decode: Callable[[_RequestT, str], Call],
        response: _Response,
    ) -> None:
        if self._is_draining:
            raise Draining("the server is draining")
        start_s = time.monotonic()
        call_id = request_id.get()
        validate(request)
        call = decode(request, call_id)
        sender = _Sender(context, response, call_id, call.wants_progress)
        relay = Relay()
        self._relays.add(relay)
        self._is_idle.clear()
        outcome = "aborted"
        generation = asyncio.create_task(self._generate(call, relay))
        try:
            if request.delivery == events_pb2.DELIVERY_FINAL:
                await sender.send_final(relay)
            else:
                await sender.send_deltas(relay)
            outcome = "finished"
        except InferenceError as error:
            outcome = error.reason
            raise
        finally:
            try:
                generation.cancel()
                await asyncio.gather(generation, return_exceptions=True)
            finally:
                self._relays.discard(relay)
                if not self._relays:
                    self._is_idle.set()
                self._note(call, outcome, sender.summary, time.monotonic() - start_s)

    async def _generate(self, call: Call, relay: Relay) -> None:
        try:
            await self._inference.run(call, relay.put)
            relay.close()
        except BaseException as error:
            relay.close(error)
            raise

    def _note(self, call: Call, outcome: str, summary: Summary | None, duration_s: float) -> None:
        fields: dict[str, object] = {
            "model": call.model_id,
            "outcome": outcome,
            "duration_s": round(duration_s, 4),
        }
        if summary is not None:
            fields |= {
                "finish_reason": summary.reason.value,
                "num_prompt_tokens": summary.num_prompt_tokens,
                "num_cached_prompt_tokens": summary.num_cached_prompt_tokens,
                "num_completion_tokens": summary.num_completion_tokens,
                "queue_s": round(summary.queue_s, 4),
                "ttft_s": None if summary.ttft_s is None else round(summary.ttft_s, 4),
                "tokens_per_second": round(summary.tokens_per_second, 2),
            }
        _logger.info("request", **fields)
        if outcome == "UNSUPPORTED_MODEL":
            return  # the label would be the caller's own text
        if outcome == "finished" and summary is not None:
            self._metrics.finished(call.model_id, summary)
        elif outcome == "aborted":
            self._metrics.aborted(call.model_id)
        else:
            self._metrics.rejected(call.model_id, outcome)


class _Sender:
    """Writes what a relay gives to one caller."""

    def __init__(
        self, context: _Context, response: _Response, call_id: str, wants_progress: bool
    ) -> None:
        self._context = context
        self._response = response
        self._call_id = call_id
        self._wants_progress = wants_progress
        self._has_sent = False
        self._position = 0
        self.summary: Summary | None = None

    async def send_deltas(self, relay: Relay) -> None:
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
                return
            progress = batch.progress or progress
            has_started = has_started or batch.started is not None
            await self._send(batch)

    async def send_final(self, relay: Relay) -> None:
        started: Started | None = None
        texts: list[str] = []
        token_ids: list[int] = []
        while (batch := await relay.take()) is not None:
            started = batch.started or started
            self.summary = batch.summary or self.summary
            self._position += batch.num_deltas
            if batch.delta is not None:
                texts.append(batch.delta.text)
                token_ids.extend(batch.delta.token_ids)
        assert started is not None, "a call that succeeds tells Started"
        assert self.summary is not None, "a call that succeeds tells its summary"
        await self._write(finished=encode_final(started, "".join(texts), token_ids, self.summary))

    async def _send(self, batch: Batch) -> None:
        if batch.progress is not None and self._wants_progress:
            await self._write(progress=encode_progress(batch.progress))
        if batch.started is not None:
            await self._write(started=encode_started(batch.started))
        deltas: list[events_pb2.Delta] = []
        if batch.delta is not None and (batch.delta.text or batch.delta.token_ids):
            deltas.append(encode_delta(batch.delta))
        self._position += batch.num_deltas
        if batch.summary is not None:
            deltas.append(events_pb2.Delta(finished=encode_choice_finished(batch.summary)))
            self._position += 1
        if deltas:
            await self._write(deltas=events_pb2.Deltas(deltas=deltas))
        if batch.summary is not None:
            self.summary = batch.summary
            await self._write(finished=encode_finished(batch.summary))

    async def _write(self, **event: Any) -> None:
        if not self._has_sent:
            # Not earlier: a call that fails before its first event ends with trailers alone, which
            # clients may retry by themselves.
            self._has_sent = True
            await self._context.send_initial_metadata((("x-request-id", self._call_id),))
        await self._context.write(self._response(position=self._position, **event))
