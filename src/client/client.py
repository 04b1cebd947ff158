"""The client for programs with threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from ..channel import ChannelTls, open_blocking_channel
from ..generated.tokenwire.v1 import inference_pb2, models_pb2, tokenizer_pb2
from ..generated.tokenwire.v1.inference_pb2_grpc import InferenceServiceStub
from ..generated.tokenwire.v1.tokenizer_pb2_grpc import TokenizerServiceStub
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
from .errors import error_of
from .messages import Messages, Tools, chat_request, conversation, generate_request
from .stream import Stream, ToolLoop
from .toolbox import Toolbox

ResponseT = TypeVar("ResponseT")


class Client:
    """Calls one server. Threads may share it; `close` or `with` ends it.

        with Client("localhost:50051", model="owner/model") as client:
            print(client.chat("Why is the sky blue?", temperature=0).answer().text)

    Without `tls` it speaks plaintext. `api_key` is sent with every call; without it the variable
    LLM_API_KEY is looked at. `timeout_s` is the deadline of each generation, waits and tries
    included; None: no deadline. A generation whose connection is lost is resumed within
    `detach_timeout_s`; 0: it fails. `channel` is one to use in place of `target` and `tls`;
    it is left open.
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
        channel: grpc.Channel | None = None,
    ) -> None:
        self._connection = Connection.of(
            model, timeout_s, retries or RetryPolicy(), api_key, detach_timeout_s
        )
        self._own_channel = None if channel else open_blocking_channel(target, tls)
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
    ) -> Stream:
        """Answers a conversation; nothing is sent before the stream is read.

        `fields` are those of `ChatRequest` and of its `Sampling`, by name, as values that protobuf
        takes for them: `temperature=0`, `max_tokens=100`, `stop=["."]`. Durations are seconds.
        The functions in `tools` are described to the model, and not called: `run` calls them.
        `tool_choice` is "auto", "none", "required", or the one function that must be called.
        With a `request_id`, which must be new, the call is resumed only where `detach_timeout` is
        one of the fields.

        Raises:
            TypeError: there is no such field, or no model is named.
        """
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
    ) -> Stream:
        """Continues a text or token ids; as `chat`, with the fields of `GenerateRequest`."""
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
    ) -> ToolLoop:
        """Answers a conversation and calls the functions that the model asks for, until it is done.

        `tool_choice` holds for the first turn; then the model is free to call or to answer. The
        deadline is that of each turn. Otherwise as `chat`.
        """
        toolbox = Toolbox(tools)
        return ToolLoop(
            lambda history, asked: self.chat(
                history, model=model, tools=toolbox.tools, timeout_s=timeout_s, **asked
            ),
            fields,
            conversation(messages),
            toolbox,
            max_turns,
        )

    def count_tokens(
        self,
        messages: Messages,
        *,
        model: str = "",
        tools: Tools = (),
        timeout_s: float | None = UNARY_TIMEOUT_S,
        **fields: Any,
    ) -> tokenizer_pb2.CountTokensResponse:
        """Counts the prompt tokens that `chat` would have with the same arguments.

        Raises:
            TokenwireError: the call failed.
        """
        chat = chat_request(self._connection.name_model(model), messages, tools, fields)
        request = tokenizer_pb2.CountTokensRequest(chat=chat)
        return self._unary(self._tokenizer.CountTokens, request, timeout_s)

    def tokenize(
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
        return self._unary(self._tokenizer.Tokenize, request, timeout_s)

    def detokenize(
        self,
        token_ids: Iterable[int],
        *,
        model: str = "",
        timeout_s: float | None = UNARY_TIMEOUT_S,
    ) -> tokenizer_pb2.DetokenizeResponse:
        """Turns token ids into text."""
        name = self._connection.name_model(model)
        request = tokenizer_pb2.DetokenizeRequest(model=name, token_ids=token_ids)
        return self._unary(self._tokenizer.Detokenize, request, timeout_s)

    def list_models(self, *, timeout_s: float | None = UNARY_TIMEOUT_S) -> list[models_pb2.Model]:
        """Lists the models of the server, where each one stands and what it can do."""
        request = inference_pb2.ListModelsRequest()
        return list(self._unary(self._inference.ListModels, request, timeout_s).models)

    def close(self) -> None:
        """Closes the channel, and with it what still runs there."""
        if self._own_channel is not None:
            self._own_channel.close()

    def __enter__(self) -> Self:
        """Closes it with the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the channel."""
        self.close()

    def _stream(
        self, method: Callable[..., Any], request: Any, timeout_s: Timeout, request_id: str
    ) -> Stream:
        options = CallOptions(timeout_s, request_id)
        return Stream(self._connection.course(method, request, options))

    def _unary(
        self, method: Callable[..., ResponseT], request: Any, timeout_s: float | None
    ) -> ResponseT:
        attempts = Attempts(self._connection.retries, timeout_s)
        metadata = self._connection.metadata()
        while True:
            try:
                return method(request, timeout=attempts.remaining_s(), metadata=metadata)
            except grpc.RpcError as rpc_error:
                error = error_of(rpc_error)
                delay_s = attempts.delay_after(error)
                if delay_s is None:
                    raise error from rpc_error
            time.sleep(delay_s)
