"""Fill-in-the-middle: the marker tokens of real models, and the prompt made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ..contract.token_ids import TokenIds

FIM_MARKERS: Final = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen2.5-Coder, CodeGemma, Granite 3
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder, Granite Code, Refact
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),  # SantaCoder
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # DeepSeek-Coder's own
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),  # CodeLlama
    ("<PRE>", "<SUF>", "<MID>"),  # CodeLlama, converted by older tools
    ("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),  # GLM-4.5
)
"""Marker tokens for what comes before the gap, what comes after it, and the gap itself."""


@dataclass(frozen=True, slots=True)
class FimTokens:
    """The ids of a model's three markers."""

    prefix: int
    suffix: int
    middle: int


def find_fim_tokens(token_id: Callable[[str], int | None]) -> FimTokens | None:
    """Finds the markers of a model, None where it has none.

    `token_id` gives the id of a text that is one token of the vocabulary, and None for any other
    text: a tokenizer's id for "unknown" must not be returned.
    """
    for names in FIM_MARKERS:
        prefix, suffix, middle = map(token_id, names)
        if prefix is not None and suffix is not None and middle is not None:
            return FimTokens(prefix, suffix, middle)
    return None


def infill_ids(
    tokens: FimTokens, prefix_ids: Sequence[int], suffix_ids: Sequence[int], begin: int | None
) -> TokenIds:
    """Arranges prefix, suffix and middle, the order that every listed model was trained on.

    `prefix_ids` and `suffix_ids` are tokenised without special tokens. `begin` is the id of the
    begin-of-sequence token where the model's tokenizer puts one before a text, otherwise None.
    """
    before = () if begin is None else (begin,)
    return TokenIds.of(
        (*before, tokens.prefix, *prefix_ids, tokens.suffix, *suffix_ids, tokens.middle)
    )
