"""The gRPC face: requests in, events out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

import grpc
import structlog

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
from ..request.kept_requests import KeptRequest, KeptRequests
from ..request.log.log_reader import LogReader
from ..request.log.request_log import RequestLog
from ..request.running_request import RunningRequests
from .codecs.event_codec import Response
from .codecs.model_codec import encode_models
from .codecs.request_codec import Request, decode_chat, decode_detach_timeout, decode_generate
from .codecs.resume_codec import check_resumed, decode_resume
from .known_context import KnownContext, has_deadline_passed
from .sender import Sender
from .validation import validate

_logger = structlog.get_logger(__name__)

_RequestT = TypeVar("_RequestT", bound=Request)


class InferenceService(inference_pb2_grpc.InferenceServiceServicer):
    """Serves Generate, Chat and ListModels."""

    def __init__(
        self,
        requests: RunningRequests,
        models: Models,
        kept: KeptRequests,
        access: Access,
        *,
        max_output_tokens: int,
        image_limits: ImageLimits | None = None,
    ) -> None:
        self._image_limits = image_limits
        self._requests = requests
        self._kept = kept
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
        """Starts a request and reads it to its caller, or reads one that is kept for him."""
        start_s = time.monotonic()
        if request.HasField("resume"):
            await self._resume(request, context, response)
            return
        self._requests.check_open()
        validate(request)
        call = decode(request, context.call)
        sender = _sender_of(request, context, response, call.context.request_id)
        timeout_s = decode_detach_timeout(request)
        # It counts from here, where nothing stands between, to its end, which `access` is told.
        self._access.start(call, (view.model_id for view in self._models.views))
        running = self._requests.start(call, self._kept.new_log() if timeout_s else None)
        if timeout_s:
            try:  # only now: one that is refused must not take another's place
                kept = self._kept.keep(running, _method_of(response), timeout_s)
            except InferenceError as error:
                running.cancel(CallFailed(error.reason))
                raise
            with self._reading(running.log, kept) as reader:
                await sender.send(reader, as_one=_is_final(request))
            return
        why: CallOutcome = CallFailed(INTERNAL)
        try:
            with self._reading(running.log) as reader:
                await sender.send(reader, as_one=_is_final(request))
        except InferenceError as error:
            why = CallFailed(error.reason, error.detail)
            raise
        except (asyncio.CancelledError, grpc.aio.InternalError):  # or a write to who has left
            is_late = has_deadline_passed(context.call, start_s)
            why = CallFailed(DEADLINE_EXCEEDED) if is_late else CallAborted()
            raise
        finally:
            running.cancel(why)

    async def _resume(self, request: Request, context: KnownContext, response: Response) -> None:
        """Reads a request on to its caller, who came back."""
        resume = decode_resume(request)
        method = _method_of(response)
        with self._kept.counting():
            kept = self._kept.find(method, resume.request_id, context.call.key)
            # The key may have lost the model since.
            offered = (view.model_id for view in self._models.views)
            self._access.check_models(context.call.key, kept.model_id, "", offered)
            check_resumed(request, kept)
        timeout_s = decode_detach_timeout(request)
        if timeout_s is not None:
            self._kept.set_timeout(kept, timeout_s)
        position = resume.after_position
        _logger.info(
            "request_resumed",
            method=method,
            model=kept.model_id,
            resumed_id=resume.request_id,
            after_position=position,
            position=kept.log.position,
        )
        sender = _sender_of(request, context, response, resume.request_id, position)
        with self._reading(kept.log, kept, position) as reader:
            await sender.send(reader, as_one=_is_final(request))

    @contextmanager
    def _reading(
        self, log: RequestLog, kept: KeptRequest | None = None, after: int = 0
    ) -> Generator[LogReader]:
        with self._requests.read(log, after) as reader, _attached(kept, reader):
            yield reader


def _is_final(request: Request) -> bool:
    return request.delivery == events_pb2.DELIVERY_FINAL


def _attached(kept: KeptRequest | None, reader: LogReader) -> AbstractContextManager[None]:
    return nullcontext() if kept is None else kept.attached(reader)


def _method_of(response: Response) -> str:
    return "Chat" if response is inference_pb2.ChatResponse else "Generate"


def _sender_of(
    request: Request, context: KnownContext, response: Response, request_id: str, position: int = 0
) -> Sender:
    return Sender(
        context,
        response,
        request_id,
        wants_progress=request.progress,
        wants_token_ids=request.return_token_ids,
        position=position,
    )
