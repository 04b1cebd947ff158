"""The routes that the proto itself declares, `google.api.http`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web
from google.api import annotations_pb2, http_pb2
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from ...generated.tokenwire.v1 import events_pb2, inference_pb2
from ..body import BodyReader
from ..client import FrontClient
from ..context import CONTEXT
from ..sse import send_stream
from .json_codec import CanonicalStream, decode, encode

_SERVICE = "InferenceService"


@dataclass(frozen=True, slots=True)
class Binding:
    """One rpc and the HTTP route that its option declares."""

    rpc: MethodDescriptor
    verb: str
    path: str


def bindings() -> list[Binding]:
    """Reads the routes from the descriptors of the service."""
    found: list[Binding] = []
    for rpc in inference_pb2.DESCRIPTOR.services_by_name[_SERVICE].methods:
        # Any: protoc types an extension as a plain descriptor, without its type.
        options: Any = rpc.GetOptions()
        rule: http_pb2.HttpRule = options.Extensions[annotations_pb2.http]
        verb = rule.WhichOneof("pattern")
        if verb is not None:
            found.append(Binding(rpc, verb.upper(), getattr(rule, verb)))
    return found


class CanonicalRoutes:
    """Answers the proto's own routes in canonical proto-JSON."""

    def __init__(self, front: FrontClient, bodies: BodyReader) -> None:
        self._front = front
        self._bodies = bodies

    def routes(self) -> list[web.RouteDef]:
        """Returns the routes to register."""
        return [
            web.route(binding.verb, binding.path, self._handler(binding)) for binding in bindings()
        ]

    def _handler(self, binding: Binding) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        message_type = message_factory.GetMessageClass(binding.rpc.input_type)
        # A stub has one attribute an rpc, of its name.
        method = getattr(self._front.stub, binding.rpc.name)

        async def unary(request: web.Request) -> web.StreamResponse:
            message = message_type()
            if binding.verb == "POST":
                message = decode(await self._bodies.read_object(request), message_type)
            return _json(await self._front.unary(method, message, request[CONTEXT]))

        async def stream(request: web.Request) -> web.StreamResponse:
            message = decode(await self._bodies.read_object(request), message_type)
            if getattr(message, "delivery", None) == events_pb2.DELIVERY_FINAL:
                return _json(await self._front.final(method, message, request[CONTEXT]))
            calls = self._front.events(method, message, request[CONTEXT])
            async with aclosing(calls) as events:
                return await send_stream(request, events, CanonicalStream())

        return stream if binding.rpc.server_streaming else unary


def _json(message: Message) -> web.Response:
    return web.Response(body=orjson.dumps(encode(message)), content_type="application/json")
