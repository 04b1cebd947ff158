"""The `/api` routes."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import Any

import orjson
from aiohttp import web

from ...generated.tokenwire.v1 import inference_pb2
from ..body import BodyReader
from ..client import FrontClient
from ..context import CONTEXT
from ..errors import DIALECT, Dialect
from ..sse import EventEncoder, send_stream
from .completions import CompletionHead, encode_completion
from .fields import Fields
from .json_codec import (
    decode_chat,
    decode_completions,
    decode_generate,
    encode_chat,
    encode_model,
    encode_text,
)
from .refusals import refuse
from .streams import ChatStream, CompletionsStream, OpenAiStream


class ApiRoutes:
    """Answers `/api` with the calls that any gRPC client makes."""

    def __init__(self, front: FrontClient, bodies: BodyReader) -> None:
        self._front = front
        self._bodies = bodies

    def routes(self) -> list[web.RouteDef]:
        """Returns the routes to register."""
        return [
            web.get("/api/llms", self.llms),
            web.post("/api/generate", self.generate),
            web.post("/api/chat", self.chat),
            web.post("/api/chat/stream", self.chat_stream),
            web.post("/api/completions", self.completions),
            web.post("/api/completions/stream", self.completions_stream),
        ]

    async def llms(self, request: web.Request) -> web.Response:
        """Lists the models as a bare array."""
        question = inference_pb2.ListModelsRequest()
        answer = await self._front.unary(self._front.stub.ListModels, question, request[CONTEXT])
        return _json([encode_model(model) for model in answer.models])

    async def generate(self, request: web.Request) -> web.Response:
        """Answers a prompt as an instruction."""
        message = decode_generate(await self._bodies.read_object(request))
        answer = await self._front.final(self._front.stub.Generate, message, request[CONTEXT])
        return _json(encode_text(answer.finished))

    async def chat(self, request: web.Request) -> web.Response:
        """Answers a conversation."""
        message = decode_chat(await self._bodies.read_object(request), is_stream=False)
        answer = await self._front.final(self._front.stub.Chat, message, request[CONTEXT])
        return _json(encode_chat(answer.finished))

    async def chat_stream(self, request: web.Request) -> web.StreamResponse:
        """Streams the answer to a conversation."""
        request[DIALECT] = Dialect.API_STREAM
        message = decode_chat(await self._bodies.read_object(request), is_stream=True)
        calls = self._front.events(self._front.stub.Chat, message, request[CONTEXT])
        async with aclosing(calls) as events:
            return await send_stream(request, events, ChatStream())

    async def completions(self, request: web.Request) -> web.StreamResponse:
        """Continues a text, as one object or, with `stream`, as OpenAI's events."""
        body = await self._bodies.read_object(request)
        head = CompletionHead(request[CONTEXT].request_id, int(time.time()))
        fields = Fields(body)
        if fields.optional_boolean("stream"):
            options = Fields(fields.optional_object("stream_options"), "stream_options")
            includes_usage = options.optional_boolean("include_usage") or False
            encoder = OpenAiStream(head, includes_usage=includes_usage)
            return await self._stream_completion(request, body, encoder)
        message = decode_completions(body, is_stream=False)
        answer = await self._front.final(self._front.stub.Generate, message, request[CONTEXT])
        return _json(encode_completion(head, answer.finished))

    async def completions_stream(self, request: web.Request) -> web.StreamResponse:
        """Streams the continuation of a text."""
        request[DIALECT] = Dialect.API_STREAM
        body = await self._bodies.read_object(request)
        fields = Fields(body)
        fields.optional_boolean("stream")  # it streams either way; the type is checked
        refuse(fields, {"stream_options"})  # whose events are those of OpenAI
        return await self._stream_completion(request, body, CompletionsStream())

    async def _stream_completion(
        self, request: web.Request, body: dict[str, Any], encoder: EventEncoder
    ) -> web.StreamResponse:
        request[DIALECT] = Dialect.API_STREAM
        message = decode_completions(body, is_stream=True)
        calls = self._front.events(self._front.stub.Generate, message, request[CONTEXT])
        async with aclosing(calls) as events:
            return await send_stream(request, events, encoder)


def _json(value: object) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")
