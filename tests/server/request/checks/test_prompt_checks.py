"""What is refused before anything is tokenised."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tokenwire.generated.tokenwire.v1 import inference_pb2
from tokenwire.server.contract.engine import ModelInfo
from tokenwire.server.contract.errors import ContextTooLong, InvalidRequest
from tokenwire.server.contract.prompts import (
    ChatMessage,
    ChatPrompt,
    InfillPrompt,
    Prompt,
    RenderedPrompt,
    Role,
    TextPrompt,
    TokenPrompt,
)
from tokenwire.server.contract.token_ids import TokenIds
from tokenwire.server.request.calls import Call, CallContext
from tokenwire.server.request.checks.prompt_checks import (
    check_rendered,
    choose_prompt,
    num_bytes_of,
)
from tokenwire.server.rpc.codecs.request_codec import decode_generate

from ..test_sampling import MODEL as ANY_MODEL

MODEL: ModelInfo = replace(ANY_MODEL, context_length=10, max_token_bytes=4)


def call(prompt: Prompt, **fields: Any) -> Call:
    asked = inference_pb2.GenerateRequest(model="m", text="x")
    return replace(decode_generate(asked, CallContext("r")), prompt=prompt, **fields)


def chat(*texts: str) -> ChatPrompt:
    return ChatPrompt(tuple(ChatMessage(Role.USER, text) for text in texts))


@pytest.mark.parametrize(
    ("prompt", "num_bytes"),
    [
        (TextPrompt("abc"), 3),
        (TextPrompt("äé€"), 7),
        (InfillPrompt("ab", "ü"), 4),
        (chat("ab", "c"), 3),
        (TokenPrompt(TokenIds.of((1, 2))), 8),
    ],
)
def test_bytes(prompt: Prompt, num_bytes: int) -> None:
    """Text counts in UTF-8, an id as four bytes."""
    assert num_bytes_of(prompt) == num_bytes


@pytest.mark.parametrize("prompt", [TextPrompt("x" * 36), chat("x" * 20, "x" * 16)])
def test_text_that_may_fit_is_rendered(prompt: Prompt) -> None:
    """Nine of the longest tokens hold 36 bytes: only the tokenizer knows."""
    assert choose_prompt(call(prompt), MODEL) is prompt


@pytest.mark.parametrize(
    "prompt", [TextPrompt("x" * 37), TextPrompt("€" * 13), chat("x" * 20, "x" * 17)]
)
def test_text_that_cannot_fit_is_refused(prompt: Prompt) -> None:
    """No tokenizer makes fewer than ten tokens of over 36 bytes."""
    with pytest.raises(ContextTooLong, match="text: has at least 10 tokens, the context") as raised:
        choose_prompt(call(prompt), MODEL)
    assert raised.value.metadata == {"limit": "10", "actual": "10"}


def test_longest_token_may_be_unknown() -> None:
    """Without a longest token only the limit of characters counts."""
    prompt = TextPrompt("x" * 1000)
    assert choose_prompt(call(prompt), replace(MODEL, max_token_bytes=0)) is prompt


def test_ids_are_counted_at_once() -> None:
    """Token ids need no tokenizer to be too many."""
    with pytest.raises(ContextTooLong, match="has 10 tokens"):
        choose_prompt(call(TokenPrompt(TokenIds.of(range(10)))), MODEL)


def test_rendered_prompt_leaves_room_for_one_token() -> None:
    """Nine of ten are taken, ten are refused with their exact number."""
    check_rendered(call(TextPrompt("x")), RenderedPrompt(TokenIds.of(range(9))), MODEL)
    with pytest.raises(ContextTooLong, match="has 10 tokens"):
        check_rendered(call(TextPrompt("x")), RenderedPrompt(TokenIds.of(range(10))), MODEL)


def test_model_without_a_template() -> None:
    """A conversation is refused, an instruction falls back to its text."""
    model = replace(MODEL, capabilities=replace(MODEL.capabilities, chat=False))
    with pytest.raises(InvalidRequest, match="has no chat template"):
        choose_prompt(call(chat("x"), prompt_without_template=None), model)
    fallback = TextPrompt("x")
    assert choose_prompt(call(chat("x"), prompt_without_template=fallback), model) is fallback
