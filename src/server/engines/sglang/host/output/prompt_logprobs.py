"""Log-probabilities of a prompt, from what SGLang says of its input with an answer's first item."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from .....contract.events import (
    MAX_PROMPT_PIECE,
    PromptLogprobs,
    PromptTokenLogprob,
    TopLogprob,
)
from .....contract.prompts import RenderedPrompt
from .token_texts import TokenTexts


def read_prompt_logprobs(
    prompt: RenderedPrompt,
    num_top: int,
    meta: Mapping[str, Any],  # SGLang has no types
    texts: TokenTexts,
    vocab_size: int,
) -> Iterator[PromptLogprobs]:
    """Yields those of each prompt token in order, with `num_top` of the likeliest, in pieces.

    What else is in SGLang's input, as what another host said of the answer, is left out.
    """
    tokens = _read_tokens(prompt, num_top, meta, texts, vocab_size)
    while piece := tuple(islice(tokens, max(1, MAX_PROMPT_PIECE // (1 + num_top)))):
        yield PromptLogprobs(piece)


def _read_tokens(
    prompt: RenderedPrompt,
    num_top: int,
    meta: Mapping[str, Any],
    texts: TokenTexts,
    vocab_size: int,
) -> Iterator[PromptTokenLogprob]:
    ids = prompt.ids_with_images or prompt.token_ids
    # Of each token: its log-probability, which the first one has not, its id, and its text, which
    # SGLang is not asked for.
    told: Sequence[tuple[float | None, int, None]] = meta["input_token_logprobs"]
    tops: Sequence[Sequence[tuple[float, int, None]] | None]
    tops = meta.get("input_top_logprobs") or [None] * len(told)
    for token_id, (logprob, told_id, _), top in zip(ids, told, tops, strict=False):
        # SGLang writes 0 for tokens of images, and for the last one of the vocabulary. A model says
        # nothing of an image: its numbers there are those of some other token.
        is_image = bool(prompt.images) and told_id != token_id and token_id != vocab_size - 1
        if is_image or logprob is None:
            yield PromptTokenLogprob(token_id, None, texts.named(token_id))
            continue
        yield PromptTokenLogprob(
            token_id,
            logprob,
            texts.named(token_id),
            tuple(
                TopLogprob(top_id, value, texts.named(top_id))
                for value, top_id, _ in (top or ())[:num_top]
            ),
        )
