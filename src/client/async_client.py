"""The client for programs with asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from ..channel import ChannelTls, open_channel
from ..generated.tokenwire.v1 import inference_pb2, models_pb2, tokenizer_pb2
from ..generated.tokenwire.v1.inference_pb2_grpc import InferenceServiceStub
from ..generated.tokenwire.v1.tokenizer_pb2_grpc import TokenizerServiceStub
from .async_stream import AsyncStream, AsyncToolLoop
from .attempts import Attempts, RetryPolicy
from .connection import (
    DEFAULT_DETACH_TIMEOUT_S,
    DEFAULT_TARGET,
    DEFAULT_TIMEOUT_S,
    UNARY_TIMEOUT_S,
    UNSET,
    CallOptions,
    Connection,
    Timeout,
)
from .errors import error_of, make_error
from .messages import Messages, Tools, chat_request, conversation, generate_request
from .stream import ENDED
from .toolbox import Toolbox

ResponseT = TypeVar("ResponseT")


class AsyncClient:
    """Calls one server. Make it inside a running event loop; otherwise as `Client`.

    async with AsyncClient("localhost:50051", model="owner/model") as client:
        print((await client.chat("Why is the sky blue?", temperature=0).answer()).text)
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        model: str = "",
        tls: ChannelTls | None = None,
        api_key: str | None = None,
        timeout_s: float | None = DEFAULT_TIMEOUT_S,
        retries: RetryPolicy | None = None,
        detach_timeout_s: float = DEFAULT_DETACH_TIMEOUT_S,
        channel: grpc.aio.Channel | None = None,
    ) -> None:
        self._connection = Connection.of(
            model, timeout_s, retries or RetryPolicy(), api_key, detach_timeout_s
        )
        self._own_channel = None if channel else open_channel(target, tls)
        used = channel or self._own_channel
        assert used is not None, "one of the two is there"
        self._inference = InferenceServiceStub(used)
        self._tokenizer = TokenizerServiceStub(used)

    def chat(
        self,
        messages: Messages,
        *,
        model: str = "",
        tools: Tools = (),
        timeout_s: Timeout = UNSET,
        request_id: str = "",
        **fields: Any,
    ) -> AsyncStream:
        """Answers a conversation; see `Client.chat`."""
        # Any: each field has a type of its own.
        name = self._connection.name_model(model)
        request = chat_request(name, messages, tools, fields)
        return self._stream(self._inference.Chat, request, timeout_s, request_id)

    def generate(
        self,
        prompt: str | Iterable[int],
        *,
        model: str = "",
        timeout_s: Timeout = UNSET,
        request_id: str = "",
        **fields: Any,
    ) -> AsyncStream:
        """Continues a text or token ids; see `Client.generate`."""
        name = self._connection.name_model(model)
        request = generate_request(name, prompt, fields)
        return self._stream(self._inference.Generate, request, timeout_s, request_id)

    def run(
        self,
        messages: Messages,
        *,
        tools: Iterable[Callable[..., Any]],
        max_turns: int = 8,
        model: str = "",
        timeout_s: Timeout = UNSET,
        **fields: Any,
    ) -> AsyncToolLoop:
        """Answers a conversation and calls functions, asynchronous ones, too; see `Client.run`."""
        toolbox = Toolbox(tools)
        return AsyncToolLoop(
            lambda history, asked: self.chat(
                history, model=model, tools=toolbox.tools, timeout_s=timeout_s, **asked
            ),
            fields,
            conversation(messages),
            toolbox,
            max_turns,
        )

    async def count_tokens(
        self,
        messages: Messages,
        *,
        model: str = "",
        tools: Tools = (),
        timeout_s: float | None = UNARY_TIMEOUT_S,
        **fields: Any,
    ) -> tokenizer_pb2.CountTokensResponse:
        """Counts the prompt tokens that `chat` would have; see `Client.count_tokens`."""
        chat = chat_request(self._connection.name_model(model), messages, tools, fields)
        request = tokenizer_pb2.CountTokensRequest(chat=chat)
        return await self._unary(self._tokenizer.CountTokens, request, timeout_s)

    async def tokenize(
        self,
        text: str,
        *,
        model: str = "",
        timeout_s: float | None = UNARY_TIMEOUT_S,
        **fields: Any,
    ) -> tokenizer_pb2.TokenizeResponse:
        """Turns a text into token ids; `fields` are those of `TokenizeRequest`."""
        name = self._connection.name_model(model)
        request = tokenizer_pb2.TokenizeRequest(model=name, text=text, **fields)
        return await self._unary(self._tokenizer.Tokenize, request, timeout_s)

    async def detokenize(
        self,
        token_ids: Iterable[int],
        *,
        model: str = "",
        timeout_s: float | None = UNARY_TIMEOUT_S,
    ) -> tokenizer_pb2.DetokenizeResponse:
        """Turns token ids into text."""
        name = self._connection.name_model(model)
        request = tokenizer_pb2.DetokenizeRequest(model=name, token_ids=token_ids)
        return await self._unary(self._tokenizer.Detokenize, request, timeout_s)

    async def list_models(
        self, *, timeout_s: float | None = UNARY_TIMEOUT_S
    ) -> list[models_pb2.Model]:
        """Lists the models of the server, where each one stands and what it can do."""
        request = inference_pb2.ListModelsRequest()
        return list((await self._unary(self._inference.ListModels, request, timeout_s)).models)

    async def close(self) -> None:
        """Closes the channel, and with it what still runs there."""
        if self._own_channel is not None:
            await self._own_channel.close()

    async def __aenter__(self) -> Self:
        """Closes it with the block."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the channel."""
        await self.close()

    def _stream(
        self, method: Callable[..., Any], request: Any, timeout_s: Timeout, request_id: str
    ) -> AsyncStream:
        options = CallOptions(timeout_s, request_id)
        return AsyncStream(self._connection.course(method, request, options))

    async def _unary(
        self, method: Callable[..., Awaitable[ResponseT]], request: Any, timeout_s: float | None
    ) -> ResponseT:
        attempts = Attempts(self._connection.retries, timeout_s)
        metadata = self._connection.metadata()
        while True:
            try:
                return await method(request, timeout=attempts.remaining_s(), metadata=metadata)
            except grpc.RpcError as rpc_error:
                error = error_of(rpc_error)
                delay_s = attempts.delay_after(error)
                if delay_s is None:
                    raise error from rpc_error
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # It is the call that was cancelled, by a server that ended.
                error = make_error(ENDED)
                delay_s = attempts.delay_after(error)
                if delay_s is None:
                    raise error from None
            await asyncio.sleep(delay_s)
