"""The edge's calls to the front."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
)
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from ..channel import ChannelTls, open_channel
from ..generated.tokenwire.v1 import access_pb2, inference_pb2, tokenizer_pb2
from ..generated.tokenwire.v1.access_pb2_grpc import AccessServiceStub
from ..generated.tokenwire.v1.inference_pb2_grpc import InferenceServiceStub
from ..generated.tokenwire.v1.tokenizer_pb2_grpc import TokenizerServiceStub
from ..lifecycle import end_tasks
from ..tracing.rpc_spans import calling
from .context import RequestContext
from .errors import EdgeError

if TYPE_CHECKING:
    from ..tracing.tracer import Tracer

INFERENCE = inference_pb2.DESCRIPTOR.services_by_name["InferenceService"]
TOKENIZER = tokenizer_pb2.DESCRIPTOR.services_by_name["TokenizerService"]
# By the request's type: no two methods share one.
_METHODS = {
    method.input_type.full_name: f"{service.full_name}/{method.name}"
    for service in (INFERENCE, TOKENIZER)
    for method in service.methods
}
_Metadata = tuple[tuple[str, str], ...]

ResponseT = TypeVar("ResponseT", bound=Message)
ResponseT_co = TypeVar("ResponseT_co", covariant=True)
AnswerT = TypeVar("AnswerT")

_UNARY_TIMEOUT_S = 5.0
_HEALTH_TIMEOUT_S = 2.0
# How long the calls of a channel that was replaced may go on.
_LAST_CALLS_S = 86_400.0
# How long the read of a call that was ended may take to hear of it.
_LET_GO_S = 5.0


class _Cancellable(Protocol):
    def cancel(self) -> bool: ...


class _StreamingCall(_Cancellable, Protocol[ResponseT_co]):
    """What a streaming method of the stub returns, whatever the type of its request."""

    def __aiter__(self) -> AsyncIterator[ResponseT_co]: ...


class _UnaryCall(_Cancellable, Awaitable[ResponseT_co], Protocol[ResponseT_co]):
    """What a unary method of the stub returns."""


class FrontClient:
    """Calls the front for HTTP requests, in plaintext without `tls`.

    Open it inside a running event loop.
    """

    def __init__(
        self, target: str, tls: ChannelTls | None = None, tracer: Tracer | None = None
    ) -> None:
        self._target = target
        self._tracer = tracer
        self._retired: dict[asyncio.Task[None], grpc.aio.Channel] = {}
        self._calls: defaultdict[asyncio.Task[Any] | None, set[_Cancellable]] = defaultdict(set)
        self._left: set[asyncio.Task[Any]] = set()
        self._is_ended = False
        self._open(tls)

    def _open(self, tls: ChannelTls | None) -> None:
        self._channel = open_channel(self._target, tls)
        self.stub = InferenceServiceStub(self._channel)
        self._access = AccessServiceStub(self._channel)
        self.tokenizer_stub = TokenizerServiceStub(self._channel)
        self._check = self._channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )

    def renew(self, tls: ChannelTls | None) -> None:
        """Makes new calls with other credentials; those that run go on as they began."""
        retired = self._channel
        self._open(tls)
        task = asyncio.create_task(retired.close(_LAST_CALLS_S), name="retired-channel")
        self._retired[task] = retired
        task.add_done_callback(self._retired.pop)

    async def events(
        self,
        method: Callable[..., _StreamingCall[ResponseT]],
        request: Message,
        context: RequestContext,
    ) -> AsyncGenerator[ResponseT]:
        """Yields the messages of one streaming call. Closing the iterator cancels the call.

        Raises:
            AioRpcError: the call failed.
            EdgeError: `end_calls` ended it, or the front did without a word.
        """
        timeout_s = context.remaining_s()
        with self._span(request, context) as metadata:
            call = method(request, metadata=metadata, timeout=timeout_s)
            with self._ending(call):
                async for event in call:
                    yield event

    async def final(
        self,
        method: Callable[..., _StreamingCall[ResponseT]],
        request: Message,
        context: RequestContext,
    ) -> ResponseT:
        """Returns the one message of a call with delivery FINAL.

        Raises:
            AioRpcError: the call failed.
            EdgeError: `end_calls` ended it, or the front did without a word.
        """
        async with aclosing(self.events(method, request, context)) as events:
            answers = [event async for event in events]
        if len(answers) != 1:
            raise RuntimeError(f"a FINAL call answered {len(answers)} messages")
        return answers[0]

    async def unary(
        self,
        method: Callable[..., _UnaryCall[ResponseT]],
        request: Message,
        context: RequestContext,
        *,
        max_wait_s: float | None = _UNARY_TIMEOUT_S,
    ) -> ResponseT:
        """Returns the answer of a unary call, within `max_wait_s` also without a caller's deadline.

        None leaves that bound to the front, for calls that may wait for a model there.

        Raises:
            AioRpcError: the call failed.
            EdgeError: `end_calls` ended it, or the front did without a word.
        """
        limits_s = [limit for limit in (context.remaining_s(), max_wait_s) if limit is not None]
        timeout_s = min(limits_s, default=None)
        with self._span(request, context) as metadata:
            call = method(request, metadata=metadata, timeout=timeout_s)
            with self._ending(call):
                return await call

    async def is_ready(self) -> bool:
        """Asks for the front's readiness; False also where it cannot be reached."""
        request = health_pb2.HealthCheckRequest(service="readiness")
        try:
            answer = await self._check(request, timeout=_HEALTH_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def check_access(
        self, resource: access_pb2.Resource.ValueType, context: RequestContext
    ) -> bool:
        """Asks whether the caller may use something; returns whether only those with a key may.

        Raises:
            AioRpcError: he may not, or the front cannot be asked.
        """
        request = access_pb2.CheckAccessRequest(resource=resource)
        answer = await self._access.CheckAccess(
            request, metadata=context.metadata(), timeout=_UNARY_TIMEOUT_S
        )
        return answer.needs_key

    def end_calls(self) -> None:
        """Ends every running call with a DRAINING failure."""
        self._is_ended = True
        for call in [call for calls in self._calls.values() for call in calls]:
            call.cancel()

    async def answer(self, answering: Coroutine[Any, Any, AnswerT]) -> AnswerT:
        """Awaits an answer that may need calls; where that is cancelled, its calls are ended first.

        A read that is cancelled leaves memory of gRPC behind, for good. One whose call ends does
        not, and every client that leaves a stream ends one.
        """
        task = asyncio.create_task(answering, name="answer")
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.done():
                await self._leave(task)
            raise

    async def _leave(self, task: asyncio.Task[Any]) -> None:
        self._left.add(task)
        try:
            calls = tuple(self._calls.get(task, ()))
            for call in calls:
                call.cancel()
            if calls:
                await asyncio.wait({task}, timeout=_LET_GO_S)
        finally:
            self._left.discard(task)
            await end_tasks(task)

    @contextmanager
    def _ending(self, call: _Cancellable) -> Generator[None]:
        """Ends a call with the body, and the body where `end_calls` ends the call."""
        task = asyncio.current_task()
        self._calls[task].add(call)
        try:
            yield
        except asyncio.CancelledError:
            if task is None or task.cancelling() or task in self._left:
                raise
            # It is the call that was cancelled: by `end_calls`, or by a front that ended, whose
            # gRPC has no other word for what had arrived and was not begun.
            if self._is_ended:
                raise EdgeError("DRAINING", "the server is draining") from None
            raise EdgeError("ENGINE_LOST", "the inference server ended the call") from None
        finally:
            call.cancel()
            self._calls[task].discard(call)
            if not self._calls[task]:
                del self._calls[task]

    @contextmanager
    def _span(self, request: Message, context: RequestContext) -> Generator[_Metadata]:
        """Spans a call, and gives the metadata that goes with it."""
        name = _METHODS[request.DESCRIPTOR.full_name]
        with calling(self._tracer, name, self._target, context.trace) as trace:
            yield context.metadata(trace)

    async def close(self) -> None:
        """Closes the channel, and those before it; what still runs on them ends with DRAINING."""
        self._is_ended = True
        retired = dict(self._retired)
        await end_tasks(*retired)
        for channel in (*retired.values(), self._channel):
            await channel.close()
