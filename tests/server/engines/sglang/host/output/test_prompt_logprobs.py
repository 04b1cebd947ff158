"""What is told of a prompt, from what SGLang says of its input."""

from __future__ import annotations

from typing import Any

from tokenwire.server.contract.events import (
    MAX_PROMPT_PIECE,
    PromptLogprobs,
    PromptTokenLogprob,
    TopLogprob,
)
from tokenwire.server.contract.prompts import RenderedPrompt
from tokenwire.server.contract.token_ids import TokenIds
from tokenwire.server.engines.sglang.host.output.prompt_logprobs import read_prompt_logprobs
from tokenwire.server.engines.sglang.host.output.token_texts import TokenTexts

from .test_token_texts import Tokenizer

WORDS = ["<s>", "a", "b", "c", "<image>"]
TEXTS = TokenTexts(Tokenizer(WORDS, {"type": "Fuse"}))
VOCAB_SIZE = 93


def read(prompt: RenderedPrompt, num_top: int, **meta: Any) -> list[PromptLogprobs]:
    return list(read_prompt_logprobs(prompt, num_top, meta, TEXTS, VOCAB_SIZE))


def test_tokens_with_their_likeliest() -> None:
    """The first has none; so many of the likeliest are told as were asked for, not as came."""
    prompt = RenderedPrompt(TokenIds.of([1, 2]))
    (piece,) = read(
        prompt,
        1,
        input_token_logprobs=[(None, 1, None), (-2.0, 2, None)],
        input_top_logprobs=[None, [(-0.5, 3, None), (-2.0, 2, None)]],
    )
    assert piece.tokens == (
        PromptTokenLogprob(1, None, b"a"),
        PromptTokenLogprob(2, -2.0, b"b", (TopLogprob(3, -0.5, b"c"),)),
    )


def test_earlier_output_is_left_out() -> None:
    """What stands behind the prompt in SGLang's input is no part of it."""
    told = [(None, 1, None), (-1.0, 2, None), (-1.0, 3, None)]
    (piece,) = read(RenderedPrompt(TokenIds.of([1, 2])), 0, input_token_logprobs=told)
    assert [token.token_id for token in piece.tokens] == [1, 2]


def test_images() -> None:
    """Their tokens have the image's mark and no value; what follows them has one."""
    prompt = RenderedPrompt(
        TokenIds.of([1, 4, 2]),
        images=(b"png",),
        num_image_tokens=2,
        ids_with_images=TokenIds.of([1, 4, 4, 4, 2, 92]),
    )
    # SGLang writes 0 for what is outside the vocabulary, and for its last token.
    told = [(None, 1, None), *[(-9.0, 0, None)] * 3, (-0.5, 2, None), (-0.25, 0, None)]
    (piece,) = read(
        prompt, 1, input_token_logprobs=told, input_top_logprobs=[None, *[[(-0.1, 3, None)]] * 5]
    )
    assert [(token.token_id, token.logprob) for token in piece.tokens] == [
        (1, None),
        (4, None),
        (4, None),
        (4, None),
        (2, -0.5),
        (92, -0.25),
    ]
    assert [len(token.top) for token in piece.tokens] == [0, 0, 0, 0, 1, 1]


def test_pieces_are_bounded() -> None:
    """However many of the likeliest come with each token."""
    ids = [1] * 3000
    told = [(None, 1, None), *[(-1.0, 1, None)] * 2999]
    tops = [None, *[[(-1.0, 1, None)] * 20] * 2999]
    for num_top in (0, 1, 20):
        pieces = read(
            RenderedPrompt(TokenIds.of(ids)),
            num_top,
            input_token_logprobs=told,
            input_top_logprobs=tops,
        )
        assert [token.token_id for piece in pieces for token in piece.tokens] == ids
        for piece in pieces:
            assert sum(1 + len(token.top) for token in piece.tokens) <= MAX_PROMPT_PIECE
