"""The gRPC face: requests in, events out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from ...generated.tokenwire.v1 import events_pb2, inference_pb2, inference_pb2_grpc
from ..contract.errors import Draining, InferenceError
from ..models.models import Models
from ..request.calls import Call, CallFinished
from ..request.inference import Inference
from ..request.relay import Relay
from ..telemetry.model_metrics import ModelMetrics
from .interceptors import request_id
from .proto_codec import (
    Request,
    decode_chat,
    decode_generate,
    encode_models,
)
from .sender import Context, Response, Sender
from .validation import validate

_logger = structlog.get_logger(__name__)

_RequestT = TypeVar("_RequestT", bound=Request)


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
        self, request: inference_pb2.GenerateRequest, context: Context
    ) -> None:
        """Continues a prompt."""
        await self._serve(request, context, decode_generate, inference_pb2.GenerateResponse)

    async def Chat(  # type: ignore[override]  # typed for generators only
        self, request: inference_pb2.ChatRequest, context: Context
    ) -> None:
        """Answers a conversation."""
        await self._serve(request, context, decode_chat, inference_pb2.ChatResponse)

    async def ListModels(
        self,
        request: inference_pb2.ListModelsRequest,  # noqa: ARG002 - it has no fields
        context: Context,  # noqa: ARG002
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
        context: Context,
        decode: Callable[[_RequestT, str], Call],
        response: Response,
    ) -> None:
        if self._is_draining:
            raise Draining("the server is draining")
        start_s = time.monotonic()
        call_id = request_id.get()
        validate(request)
        call = decode(request, call_id)
        sender = Sender(context, response, call_id, call.wants_progress)
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

    def _note(
        self, call: Call, outcome: str, summary: CallFinished | None, duration_s: float
    ) -> None:
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
