"""The `/api` routes."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Any

from aiohttp import web

from ...generated.tokenwire.v1 import inference_pb2
from ..body import BodyReader, json_response
from ..client import FrontClient
from ..context import CONTEXT
from ..dialect import DIALECT, Dialect
from ..fields import Fields
from ..openai.json_codec import AnswerHead, decode_includes_usage
from ..openai.streams import CompletionStream
from ..sse import EventEncoder, send_stream
from .errors import encode_failure, encode_stream_failure
from .json_codec import (
    decode_chat,
    decode_completions,
    decode_generate,
    encode_chat,
    encode_completions,
    encode_model,
    encode_text,
)
from .kept_streams import KeptTextStream, ResumedStream, read_place, resumed_events
from .missing import describe_missing
from .ollama import unless_ollama
from .refusals import refuse
from .streams import ChatStream, CompletionsStream, GenerateStream


def _routes(front: FrontClient, bodies: BodyReader) -> list[web.RouteDef]:
    handlers = _Handlers(front, bodies)
    return [
        web.get("/api/llms", handlers.llms),
        web.post("/api/generate", handlers.generate),
        web.post("/api/generate/stream", handlers.generate_stream),
        web.post("/api/chat", handlers.chat),
        web.post("/api/chat/stream", handlers.chat_stream),
        web.post("/api/completions", handlers.completions),
        web.post("/api/completions/stream", handlers.completions_stream),
        web.get("/api/streams/{request_id}", handlers.resumed),
    ]


# Answers every path that is no other dialect's.
API = Dialect("", _routes, encode_failure, describe_missing=describe_missing)
_API_STREAM = replace(API, encode_failure=encode_stream_failure)


class _Handlers:
    """Answers `/api` with the calls that any gRPC client makes."""

    def __init__(self, front: FrontClient, bodies: BodyReader) -> None:
        self._front = front
        self._bodies = bodies

    async def llms(self, request: web.Request) -> web.Response:
        """Lists the models as a bare array."""
        question = inference_pb2.ListModelsRequest()
        answer = await self._front.unary(self._front.stub.ListModels, question, request[CONTEXT])
        return json_response([encode_model(model) for model in answer.models])

    async def generate(self, request: web.Request) -> web.Response:
        """Answers a prompt as an instruction."""
        decode = unless_ollama(request, partial(decode_generate, is_stream=False))
        message = await self._bodies.read(request, decode)
        answer = await self._front.final(self._front.stub.Generate, message, request[CONTEXT])
        return json_response(encode_text(answer.finished))

    async def generate_stream(self, request: web.Request) -> web.StreamResponse:
        """Streams the answer to a prompt as an instruction."""
        request[DIALECT] = _API_STREAM
        message = await self._bodies.read(request, partial(decode_generate, is_stream=True))
        events = self._front.events(self._front.stub.Generate, message, request[CONTEXT])
        return await send_stream(request, events, _resumable(message, GenerateStream()))

    async def chat(self, request: web.Request) -> web.Response:
        """Answers a conversation."""
        decode = unless_ollama(request, partial(decode_chat, is_stream=False))
        message = await self._bodies.read(request, decode)
        answer = await self._front.final(self._front.stub.Chat, message, request[CONTEXT])
        return json_response(encode_chat(answer.finished))

    async def chat_stream(self, request: web.Request) -> web.StreamResponse:
        """Streams the answer to a conversation."""
        request[DIALECT] = _API_STREAM
        message = await self._bodies.read(request, partial(decode_chat, is_stream=True))
        events = self._front.events(self._front.stub.Chat, message, request[CONTEXT])
        return await send_stream(request, events, _resumable(message, ChatStream()))

    async def completions(self, request: web.Request) -> web.StreamResponse:
        """Continues a text, as one object or, with `stream`, as OpenAI's events."""
        head = AnswerHead.of_completion(request[CONTEXT].request_id, int(time.time()))

        def decode(
            body: dict[str, Any],
        ) -> tuple[inference_pb2.GenerateRequest, EventEncoder | None]:
            fields = Fields(body)
            if not fields.optional_boolean("stream"):
                return decode_completions(body, is_stream=False), None
            encoder = CompletionStream(head, includes_usage=decode_includes_usage(fields))
            request[DIALECT] = _API_STREAM
            return decode_completions(body, is_stream=True), encoder

        message, encoder = await self._bodies.read(request, decode)
        if encoder is not None:
            return await self._stream_completion(request, message, encoder)
        answer = await self._front.final(self._front.stub.Generate, message, request[CONTEXT])
        return json_response(encode_completions(head, answer.finished))

    async def completions_stream(self, request: web.Request) -> web.StreamResponse:
        """Streams the continuation of a text."""
        request[DIALECT] = _API_STREAM

        def decode(body: dict[str, Any]) -> inference_pb2.GenerateRequest:
            fields = Fields(body)
            fields.optional_boolean("stream")  # it streams either way; the type is checked
            refuse(fields, {"stream_options"})  # whose events are those of OpenAI
            return decode_completions(body, is_stream=True)

        message = await self._bodies.read(request, decode)
        encoder = _resumable(message, CompletionsStream())
        return await self._stream_completion(request, message, encoder)

    async def resumed(self, request: web.Request) -> web.StreamResponse:
        """Streams a request on to a client that comes back."""
        place = read_place(request)
        if place is None:
            request[CONTEXT].remaining_s()  # a malformed deadline is told here, too
            return web.Response(status=HTTPStatus.NO_CONTENT)  # by which a browser comes no more
        events = resumed_events(self._front, request, place)
        return await send_stream(request, events, ResumedStream(place))

    async def _stream_completion(
        self, request: web.Request, message: inference_pb2.GenerateRequest, encoder: EventEncoder
    ) -> web.StreamResponse:
        events = self._front.events(self._front.stub.Generate, message, request[CONTEXT])
        return await send_stream(request, events, encoder)


def _resumable(
    message: inference_pb2.ChatRequest | inference_pb2.GenerateRequest, encoder: EventEncoder
) -> EventEncoder:
    """Gives the events ids where the request can be resumed."""
    return KeptTextStream(encoder) if message.detach_timeout.ToNanoseconds() else encoder
