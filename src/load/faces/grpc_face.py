"""The gRPC door of the service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from ...channel import ChannelTls, open_channel
from ...client.errors import TokenwireError, error_of
from ...generated.tokenwire.v1 import (
    chat_pb2,
    events_pb2,
    inference_pb2,
    inference_pb2_grpc,
    models_pb2,
    sampling_pb2,
    tokenizer_pb2,
    tokenizer_pb2_grpc,
)
from .exchange import Exchange
from .face import LoadRequest, RequestFailed, Sending, Task

_UNARY_TIMEOUT_S = 60.0
_Message = inference_pb2.ChatRequest | inference_pb2.GenerateRequest


@asynccontextmanager
async def open_grpc_face(
    target: str, tls: ChannelTls | None = None, api_key: str = ""
) -> AsyncGenerator[GrpcFace]:
    """Opens a channel for the time of the block."""
    async with open_channel(target, tls) as channel:
        yield GrpcFace(target, channel, api_key)


class GrpcFace:
    """Calls Chat or Generate: the stub itself, since every layer more would be measured, too."""

    name = "grpc"

    def __init__(self, target: str, channel: grpc.aio.Channel, api_key: str) -> None:
        self.address = target
        self._metadata = (("authorization", f"Bearer {api_key}"),) if api_key else ()
        self._inference = inference_pb2_grpc.InferenceServiceStub(channel)
        self._tokenizer = tokenizer_pb2_grpc.TokenizerServiceStub(channel)

    async def find_model(self) -> str:
        """Returns the first model that serves."""
        try:
            answer = await self._inference.ListModels(
                inference_pb2.ListModelsRequest(),
                timeout=_UNARY_TIMEOUT_S,
                metadata=self._metadata,
            )
        except grpc.RpcError as error:
            raise _failure(error_of(error)) from error
        models = list(answer.models)
        serving = [model for model in models if model.state == models_pb2.MODEL_STATE_SERVING]
        if not (serving or models):
            raise RequestFailed("no model", "the server lists no model: name one")
        return (serving or models)[0].id

    async def count_prompt(self, sending: Sending, prompt: str) -> int | None:
        """Returns the prompt tokens, template included; None: the tokenizer does not answer."""
        message = _message(sending, LoadRequest(prompt, 1, 0))
        if isinstance(message, inference_pb2.ChatRequest):
            question = tokenizer_pb2.CountTokensRequest(chat=message)
        else:
            question = tokenizer_pb2.CountTokensRequest(generate=message)
        try:
            answer = await self._tokenizer.CountTokens(
                question, timeout=_UNARY_TIMEOUT_S, metadata=self._metadata
            )
        except grpc.RpcError:
            return None  # of an engine without a tokenizer to ask, or refused: requests will tell
        return answer.num_prompt_tokens

    async def send(self, sending: Sending, request: LoadRequest, exchange: Exchange) -> None:
        """Sends a request, and notes each message with output in it."""
        message = _message(sending, request)
        # Any: Chat and Generate have a type each, and events of the same form.
        method: Any = self._inference.Generate
        if isinstance(message, inference_pb2.ChatRequest):
            method = self._inference.Chat
        call = method(message, timeout=sending.timeout_s, metadata=self._metadata)
        position = 0
        is_whole = False
        try:
            async for response in call:
                kind = response.WhichOneof("event")
                if kind == "deltas":
                    num_ends = sum(d.HasField("finished") for d in response.deltas.deltas)
                    if num_ends < len(response.deltas.deltas):
                        exchange.note_output(max(1, response.position - position - num_ends))
                elif kind == "finished":
                    _note_usage(exchange, response.finished.usage)
                    is_whole = True
                position = response.position
        except grpc.RpcError as error:
            raise _failure(error_of(error)) from error
        except asyncio.CancelledError:
            call.cancel()
            raise
        if not is_whole:
            raise RequestFailed("cut", "the stream ended before its last event")


def _message(sending: Sending, request: LoadRequest) -> _Message:
    sampling = sampling_pb2.Sampling(
        max_tokens=request.max_tokens,
        ignore_eos=sending.ignores_eos,
        temperature=sending.temperature,
    )
    if sending.task is Task.COMPLETION:
        return inference_pb2.GenerateRequest(
            model=sending.model, text=request.prompt, sampling=sampling
        )
    content = [chat_pb2.ContentPart(text=request.prompt)]
    message = chat_pb2.Message(role=chat_pb2.ROLE_USER, content=content)
    return inference_pb2.ChatRequest(model=sending.model, messages=[message], sampling=sampling)


def _note_usage(exchange: Exchange, usage: events_pb2.Usage) -> None:
    exchange.note_usage(
        usage.num_prompt_tokens, usage.num_completion_tokens, usage.num_cached_prompt_tokens
    )


def _failure(error: TokenwireError) -> RequestFailed:
    if error.code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return RequestFailed("timeout", error.failure.message)
    kind = f"{error.code.name} {error.reason}".strip()
    return RequestFailed(kind, error.failure.message)
