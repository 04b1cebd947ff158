"""The routes that the proto itself declares, `google.api.http`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web
from google.api import annotations_pb2, http_pb2
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from ...generated.tokenwire.v1 import events_pb2, inference_pb2
from ..body import BodyReader, json_response
from ..client import INFERENCE, TOKENIZER, FrontClient
from ..context import CONTEXT
from ..dialect import Dialect
from ..event_ids import WithIds
from ..sse import EventEncoder, send_stream
from .json_codec import CanonicalStream, decode, encode, encode_failure


@dataclass(frozen=True, slots=True)
class Binding:
    """One rpc and the HTTP route that its option declares."""

    rpc: MethodDescriptor
    verb: str
    path: str


def bindings() -> list[Binding]:
    """Reads the routes from the descriptors of the services."""
    found: list[Binding] = []
    for rpc in (rpc for service in (INFERENCE, TOKENIZER) for rpc in service.methods):
        # Any: protoc types an extension as a plain descriptor, without its type.
        options: Any = rpc.GetOptions()
        rule: http_pb2.HttpRule = options.Extensions[annotations_pb2.http]
        verb = rule.WhichOneof("pattern")
        if verb is not None:
            found.append(Binding(rpc, verb.upper(), getattr(rule, verb)))
    return found


def _routes(front: FrontClient, bodies: BodyReader) -> list[web.RouteDef]:
    return [
        web.route(binding.verb, binding.path, _handler(binding, front, bodies))
        for binding in bindings()
    ]


def _handler(
    binding: Binding, front: FrontClient, bodies: BodyReader
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    message_type = message_factory.GetMessageClass(binding.rpc.input_type)
    decode_body = partial(decode, message_type=message_type)

    def method() -> Any:
        # Anew for each call: the channel is replaced with the certificates. A stub has one
        # attribute an rpc, of its name.
        is_tokenizer = binding.rpc.containing_service.full_name == TOKENIZER.full_name
        return getattr(front.tokenizer_stub if is_tokenizer else front.stub, binding.rpc.name)

    async def unary(request: web.Request) -> web.StreamResponse:
        if binding.verb == "GET":
            return json_response(
                encode(await front.unary(method(), message_type(), request[CONTEXT]))
            )
        message = await bodies.read(request, decode_body)
        # It may wait for a model to be loaded, as long as the front lets it.
        answer = await front.unary(method(), message, request[CONTEXT], max_wait_s=None)
        return json_response(encode(answer))

    async def stream(request: web.Request) -> web.StreamResponse:
        message = await bodies.read(request, decode_body)
        if getattr(message, "delivery", None) == events_pb2.DELIVERY_FINAL:
            return json_response(encode(await front.final(method(), message, request[CONTEXT])))
        events = front.events(method(), message, request[CONTEXT])
        wants_progress = bool(getattr(message, "progress", False))
        return await send_stream(request, events, _encoder_of(message), is_early=wants_progress)

    return stream if binding.rpc.server_streaming else unary


def _encoder_of(message: Message) -> EventEncoder:
    """Gives the events ids where the request can be resumed."""
    stream = CanonicalStream()
    if not isinstance(message, inference_pb2.ChatRequest | inference_pb2.GenerateRequest):
        return stream
    is_kept = message.HasField("resume") or message.detach_timeout.ToNanoseconds()
    return WithIds(stream) if is_kept else stream


CANONICAL = Dialect("/tokenwire/", _routes, encode_failure)
