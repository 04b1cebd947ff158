"""The gRPC face: requests in, events out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from ...generated.tokenwire.v1 import events_pb2, inference_pb2, inference_pb2_grpc
from ..contract.errors import Draining, InferenceError, UnsupportedModel
from ..models.models import Models
from ..request.calls import Call, CallAborted, CallFailed, CallFinished, CallOutcome
from ..request.inference import Inference
from ..request.relay import Relay
from ..telemetry.model_metrics import ModelMetrics
from .interceptors import has_deadline_passed, request_id
from .proto_codec import Request, decode_chat, decode_generate, encode_models
from .sender import Context, Response, Sender
from .statuses import DEADLINE_EXCEEDED, INTERNAL
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
        self._has_ended_all = False

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
        self._has_ended_all = True
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
        outcome: CallOutcome = CallFailed(INTERNAL)
        generation = asyncio.create_task(self._generate(call, relay))
        try:
            if request.delivery == events_pb2.DELIVERY_FINAL:
                outcome = await sender.send_final(relay)
            else:
                outcome = await sender.send_deltas(relay)
        except InferenceError as error:
            outcome = CallFailed(error.reason, error.detail)
            raise
        except asyncio.CancelledError:
            outcome = self._why_cancelled(context, time.monotonic() - start_s)
            raise
        finally:
            try:
                generation.cancel()
                await asyncio.gather(generation, return_exceptions=True)
            finally:
                self._relays.discard(relay)
                if not self._relays:
                    self._is_idle.set()
                self._record(call.model_id, outcome, time.monotonic() - start_s)

    async def _generate(self, call: Call, relay: Relay) -> None:
        try:
            await self._inference.run(call, relay.put)
            relay.close()
        except asyncio.CancelledError:
            # Whoever cancels this task reads no more: a reader was not the one who did.
            relay.close(RuntimeError("the generation was cancelled from inside"))
            raise
        except BaseException as error:
            relay.close(error)
            raise

    def _why_cancelled(self, context: Context, elapsed_s: float) -> CallOutcome:
        if self._has_ended_all:
            return CallFailed(Draining.reason)
        if has_deadline_passed(context, elapsed_s):
            return CallFailed(DEADLINE_EXCEEDED)
        return CallAborted()

    def _record(self, model_id: str, outcome: CallOutcome, duration_s: float) -> None:
        _logger.info(
            "request",
            model=model_id,
            duration_s=round(duration_s, 4),
            **_describe(outcome),
        )
        if outcome != CallFailed(UnsupportedModel.reason):  # its label would be the caller's text
            self._metrics.record(model_id, outcome)


def _describe(outcome: CallOutcome) -> dict[str, object]:
    match outcome:
        case CallFailed(reason, detail):
            return {"outcome": reason, **({"detail": detail} if detail else {})}
        case CallAborted():
            return {"outcome": "aborted"}
        case CallFinished():
            return {
                "outcome": "finished",
                "finish_reason": outcome.reason.value,
                "num_prompt_tokens": outcome.num_prompt_tokens,
                "num_cached_prompt_tokens": outcome.num_cached_prompt_tokens,
                "num_completion_tokens": outcome.num_completion_tokens,
                "queue_s": round(outcome.queue_s, 4),
                "ttft_s": None if outcome.ttft_s is None else round(outcome.ttft_s, 4),
                "tokens_per_second": round(outcome.tokens_per_second, 2),
            }
