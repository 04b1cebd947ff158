"""The gRPC face: requests in, events out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc

from ...generated.tokenwire.v1 import events_pb2, inference_pb2, inference_pb2_grpc
from ..access.access import Access
from ..contract.errors import InferenceError
from ..media.image_limits import ImageLimits
from ..models.models import Models
from ..request.calls import (
    DEADLINE_EXCEEDED,
    INTERNAL,
    Call,
    CallAborted,
    CallContext,
    CallFailed,
    CallOutcome,
)
from ..request.running_request import RunningRequests
from .known_context import KnownContext, has_deadline_passed
from .model_codec import encode_models
from .request_codec import Request, decode_chat, decode_generate
from .sender import Response, Sender
from .validation import validate

_RequestT = TypeVar("_RequestT", bound=Request)


class InferenceService(inference_pb2_grpc.InferenceServiceServicer):
    """Serves Generate, Chat and ListModels."""

    def __init__(
        self,
        requests: RunningRequests,
        models: Models,
        access: Access,
        max_output_tokens: int,
        image_limits: ImageLimits | None = None,
    ) -> None:
        self._image_limits = image_limits
        self._requests = requests
        self._models = models
        self._access = access
        self._max_output_tokens = max_output_tokens

    def Generate(  # type: ignore[override]  # typed for generators, and gRPC's own context
        self, request: inference_pb2.GenerateRequest, context: KnownContext
    ) -> Awaitable[None]:
        """Continues a prompt."""
        return self._serve(request, context, decode_generate, inference_pb2.GenerateResponse)

    def Chat(  # type: ignore[override]  # typed for generators, and gRPC's own context
        self, request: inference_pb2.ChatRequest, context: KnownContext
    ) -> Awaitable[None]:
        """Answers a conversation."""
        return self._serve(request, context, decode_chat, inference_pb2.ChatResponse)

    async def ListModels(  # type: ignore[override]  # typed for gRPC's own context
        self,
        request: inference_pb2.ListModelsRequest,  # noqa: ARG002 - it has no fields
        context: KnownContext,
    ) -> inference_pb2.ListModelsResponse:
        """Lists the models and adapters that the caller may use, and where each one stands."""
        views = self._access.visible(context.call.key, self._models.views)
        return encode_models(views, self._max_output_tokens, self._image_limits)

    async def _serve(
        self,
        request: _RequestT,
        context: KnownContext,
        decode: Callable[[_RequestT, CallContext], Call],
        response: Response,
    ) -> None:
        """Starts a request, reads it to its caller, and cancels it where that ends early."""
        start_s = time.monotonic()
        self._requests.check_open()
        validate(request)
        call = decode(request, context.call)
        sender = Sender(
            context,
            response,
            call.context.request_id,
            wants_progress=call.wants_progress,
            wants_token_ids=call.wants_token_ids,
        )
        # It counts from here, where nothing stands between, to its end, which `access` is told.
        self._access.start(call, (view.model_id for view in self._models.views))
        running = self._requests.start(call)
        why: CallOutcome = CallFailed(INTERNAL)
        try:
            with self._requests.read(running) as reader:
                if request.delivery == events_pb2.DELIVERY_FINAL:
                    await sender.send_final(reader)
                else:
                    await sender.send_deltas(reader)
        except InferenceError as error:
            why = CallFailed(error.reason, error.detail)
            raise
        except (asyncio.CancelledError, grpc.aio.InternalError):  # or a write to who has left
            is_late = has_deadline_passed(context.call, start_s)
            why = CallFailed(DEADLINE_EXCEEDED) if is_late else CallAborted()
            raise
        finally:
            running.cancel(why)
