"""The gRPC face of tokenizers and chat templates."""

from __future__ import annotations

from ....generated.tokenwire.v1 import tokenizer_pb2, tokenizer_pb2_grpc
from ...access.access import Access
from ...request.running_request import RunningRequests
from ...request.tokenizing import Tokenizing
from ..known_context import KnownContext
from ..validation import validate
from .codec import (
    decode_counted,
    decode_text,
    decode_token_ids,
    encode_size,
    encode_text,
    encode_tokens,
    fields_below,
    max_wait_s,
)


class TokenizerService(tokenizer_pb2_grpc.TokenizerServiceServicer):
    """Serves Tokenize, Detokenize and CountTokens."""

    def __init__(self, requests: RunningRequests, tokenizing: Tokenizing, access: Access) -> None:
        self._requests = requests
        self._tokenizing = tokenizing
        self._access = access

    async def Tokenize(  # type: ignore[override]  # typed for gRPC's own context
        self,
        request: tokenizer_pb2.TokenizeRequest,
        context: KnownContext,
    ) -> tokenizer_pb2.TokenizeResponse:
        """Turns a text into token ids."""
        with self._requests.short():
            validate(request)
            self._check_model(context, request.model)
            text = decode_text(request)
            tokens = await self._tokenizing.tokenize(request.model, text, max_wait_s(request))
        return encode_tokens(tokens)

    async def Detokenize(  # type: ignore[override]  # typed for gRPC's own context
        self,
        request: tokenizer_pb2.DetokenizeRequest,
        context: KnownContext,
    ) -> tokenizer_pb2.DetokenizeResponse:
        """Turns token ids into text."""
        with self._requests.short():
            validate(request)
            self._check_model(context, request.model)
            ids = decode_token_ids(request)
            data = await self._tokenizing.detokenize(request.model, ids, max_wait_s(request))
        return encode_text(data)

    async def CountTokens(  # type: ignore[override]  # typed for gRPC's own context
        self, request: tokenizer_pb2.CountTokensRequest, context: KnownContext
    ) -> tokenizer_pb2.CountTokensResponse:
        """Counts the prompt tokens of a request."""
        with self._requests.short():
            validate(request)
            with fields_below(request):
                call = decode_counted(request, context.call)
                self._check_model(context, call.model_id, call.lora_adapter)
                size = await self._tokenizing.count(call)
        return encode_size(size)

    def _check_model(self, context: KnownContext, model_id: str, lora_adapter: str = "") -> None:
        offered = self._tokenizing.offered
        self._access.check_models(context.call.key, model_id, lora_adapter, offered)
