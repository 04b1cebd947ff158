"""Calls of the tokenizer from protos to the domain, and back."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from ....generated.tokenwire.v1 import tokenizer_pb2
from ...contract.errors import InferenceError, InvalidRequest
from ...contract.prompts import PlainText, TokenizedText
from ...contract.token_ids import TokenIds
from ...request.calls import Call, CallContext
from ...request.tokenizing import PromptSize
from ..codecs.request_codec import decode_chat, decode_generate

_WaitingRequest = tokenizer_pb2.TokenizeRequest | tokenizer_pb2.DetokenizeRequest


def decode_text(request: tokenizer_pb2.TokenizeRequest) -> PlainText:
    """Returns the text to tokenise."""
    return PlainText(
        request.text,
        add_special=request.add_special_tokens,
        parse_special=request.parse_special_tokens,
        wants_pieces=request.return_pieces,
    )


def decode_token_ids(request: tokenizer_pb2.DetokenizeRequest) -> TokenIds:
    """Returns the ids to turn into text."""
    return TokenIds.of(request.token_ids)


def decode_counted(request: tokenizer_pb2.CountTokensRequest, context: CallContext) -> Call:
    """Returns the call whose prompt is to be counted.

    Raises:
        InvalidRequest: as `decode_chat`, or it takes up an earlier one.
    """
    is_chat = request.WhichOneof("request") == "chat"
    if (request.chat if is_chat else request.generate).HasField("resume"):
        raise InvalidRequest("resume", "has no prompt: `started` told the tokens of the request's")
    if is_chat:
        return decode_chat(request.chat, context)
    return decode_generate(request.generate, context)


@contextmanager
def fields_below(request: tokenizer_pb2.CountTokensRequest) -> Generator[None]:
    """Names the fields in failures of the body as those of `request`, which holds another one."""
    try:
        yield
    except InferenceError as error:
        error.move_fields_below(request.WhichOneof("request") or "")
        raise


def max_wait_s(request: _WaitingRequest) -> float | None:
    """Returns the longest wait that the caller allows, None for the server's own limit."""
    if not request.HasField("max_queue_wait"):
        return None
    return request.max_queue_wait.seconds + request.max_queue_wait.nanos * 1e-9


def encode_tokens(tokens: TokenizedText) -> tokenizer_pb2.TokenizeResponse:
    """Writes a text's tokens."""
    return tokenizer_pb2.TokenizeResponse(token_ids=tokens.token_ids, pieces=tokens.pieces)


def encode_text(data: bytes) -> tokenizer_pb2.DetokenizeResponse:
    """Writes what tokens stand for: the text, and the bytes where they are not whole characters."""
    try:
        return tokenizer_pb2.DetokenizeResponse(text=data.decode())
    except UnicodeDecodeError:
        return tokenizer_pb2.DetokenizeResponse(text=data.decode(errors="replace"), data=data)


def encode_size(size: PromptSize) -> tokenizer_pb2.CountTokensResponse:
    """Writes the size of a prompt."""
    return tokenizer_pb2.CountTokensResponse(
        num_prompt_tokens=size.num_prompt_tokens, context_length=size.context_length
    )
