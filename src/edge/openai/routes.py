"""The `/v1` routes."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from functools import partial

from aiohttp import web

from ...generated.tokenwire.v1 import inference_pb2, tokenizer_pb2
from ..body import BodyReader, json_response
from ..client import FrontClient
from ..context import CONTEXT, RequestContext
from ..dialect import DIALECT, Dialect
from ..errors import EdgeError
from ..sse import send_stream
from .chat_codec import decode_chat, encode_chat
from .completions_codec import CompletionsAsked, decode_completions, encode_completions
from .errors import FieldNames, encode_failure
from .json_codec import AnswerHead, encode_model
from .not_served import describe_missing
from .prompts import gather, merge
from .streams import ChatStream, CompletionStream


def _routes(front: FrontClient, bodies: BodyReader) -> list[web.RouteDef]:
    handlers = _Handlers(front, bodies, int(time.time()))
    return [
        web.get("/v1/models", handlers.models),
        # Ids have slashes, which come as they are or as %2F.
        web.get("/v1/models/{id:.+}", handlers.model),
        web.post("/v1/chat/completions", handlers.chat),
        web.post("/v1/completions", handlers.completions),
    ]


def _headers(context: RequestContext) -> Mapping[str, str]:
    elapsed_ms = (time.monotonic() - context.arrived_s) * 1000
    return {"openai-processing-ms": f"{elapsed_ms:.0f}"}


OPENAI = Dialect(
    "/v1/", _routes, encode_failure, headers=_headers, describe_missing=describe_missing
)


class _Handlers:
    """Answers `/v1` with the calls that any gRPC client makes.

    Models were made, as far as anyone here knows, when the edge started.
    """

    def __init__(self, front: FrontClient, bodies: BodyReader, started_unix_s: int) -> None:
        self._front = front
        self._bodies = bodies
        self._started_unix_s = started_unix_s

    async def models(self, request: web.Request) -> web.Response:
        """Lists the models."""
        answer = await self._list_models(request)
        data = [encode_model(model, self._started_unix_s) for model in answer.models]
        return json_response({"object": "list", "data": data})

    async def model(self, request: web.Request) -> web.Response:
        """Describes one model."""
        model_id = request.match_info["id"]
        answer = await self._list_models(request)
        for model in answer.models:
            if model.id == model_id:
                return json_response(encode_model(model, self._started_unix_s))
        offered = ", ".join(f"'{model.id}'" for model in answer.models)
        raise EdgeError(
            "UNSUPPORTED_MODEL",
            f"no model '{model_id[:200]}' here; this server offers {offered or 'none'}",
        )

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Answers a conversation, as one object or as events."""
        context = request[CONTEXT]
        asked = await self._bodies.read(request, decode_chat)
        _name_fields(request, asked.names)
        head = AnswerHead.of_chat(context.request_id, int(time.time()))
        if asked.is_stream:
            events = self._front.events(self._front.stub.Chat, asked.request, context)
            return await send_stream(request, events, ChatStream(head, asked))
        answer = await self._front.final(self._front.stub.Chat, asked.request, context)
        return json_response(encode_chat(head, asked, answer.finished))

    async def completions(self, request: web.Request) -> web.StreamResponse:
        """Continues one text or several, as one object or as events."""
        context = request[CONTEXT]
        asked = await self._bodies.read(request, decode_completions)
        _name_fields(request, asked.names)
        echoes = await self._echoes(asked, context)
        head = AnswerHead.of_completion(context.request_id, int(time.time()))
        if asked.is_stream:
            encoder = CompletionStream.of(head, asked, echoes)
            return await send_stream(request, self._stream(asked, context), encoder)
        calls = [
            self._front.final(self._front.stub.Generate, call, context) for call in asked.requests
        ]
        answers = await gather(calls)
        finished = [answer.finished for answer in answers]
        return json_response(encode_completions(head, asked, finished, echoes))

    def _stream(
        self, asked: CompletionsAsked, context: RequestContext
    ) -> AsyncGenerator[inference_pb2.GenerateResponse]:
        if not asked.is_list:
            return self._front.events(self._front.stub.Generate, asked.requests[0], context)
        streams = [
            self._front.events(self._front.stub.Generate, call, context) for call in asked.requests
        ]
        return merge(streams, asked.num_choices)

    async def _list_models(self, request: web.Request) -> inference_pb2.ListModelsResponse:
        question = inference_pb2.ListModelsRequest()
        return await self._front.unary(self._front.stub.ListModels, question, request[CONTEXT])

    async def _echoes(self, asked: CompletionsAsked, context: RequestContext) -> list[str]:
        async def text_of(call: inference_pb2.GenerateRequest) -> str:
            if call.WhichOneof("prompt") == "text":
                return call.text
            question = tokenizer_pb2.DetokenizeRequest(
                model=call.model, token_ids=call.token_ids.ids
            )
            answer = await self._front.unary(
                self._front.tokenizer_stub.Detokenize, question, context, max_wait_s=None
            )
            return answer.text

        if not asked.wants_echo:
            return [""] * len(asked.requests)
        return await gather([text_of(call) for call in asked.requests])


def _name_fields(request: web.Request, names: FieldNames) -> None:
    """Has the failures of a request name fields as its caller did."""
    request[DIALECT] = replace(OPENAI, encode_failure=partial(encode_failure, names=names))
