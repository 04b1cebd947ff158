"""The tokens of a GGUF file's vocabulary that are more than text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Final

from .gguf_file import read_gguf_file

_TOKENS: Final = "tokenizer.ggml.tokens"
_TYPES: Final = "tokenizer.ggml.token_type"
_TEMPLATE: Final = "tokenizer.chat_template"
# `llama_token_type` of llama.h.
_UNKNOWN: Final = 2
_CONTROL: Final = 3
_USER_DEFINED: Final = 4


@dataclass(frozen=True, slots=True)
class GgufToken:
    """A token of the vocabulary; `is_control`: the file says so itself."""

    token_id: int
    text: str
    is_control: bool
    is_unknown: bool


@dataclass(frozen=True, slots=True)
class GgufTokens:
    """Every token but ordinary ones, bytes and unused ones, and the file's chat template."""

    tokens: tuple[GgufToken, ...]
    chat_template: str


def read_gguf_tokens(path: Path) -> GgufTokens:
    """Reads the vocabulary. Blocks for up to half a second.

    Raises:
        MalformedGguf: missing, not GGUF, truncated or nonsensical.
    """
    keys = read_gguf_file(path, keep=frozenset((_TOKENS, _TYPES))).keys
    texts, kinds, template = (keys.get(key) for key in (_TOKENS, _TYPES, _TEMPLATE))
    tokens = _tokens(
        texts if isinstance(texts, list) else [], kinds if isinstance(kinds, list) else []
    )
    return GgufTokens(tuple(tokens), template if isinstance(template, str) else "")


def _tokens(texts: list[str | int | float], kinds: list[str | int | float]) -> Iterator[GgufToken]:
    for token_id, (text, kind) in enumerate(zip_longest(texts, kinds[: len(texts)])):
        # llama.cpp makes control tokens of some that the file calls ordinary, by their text
        # (`llama_vocab::impl::load`, llama-vocab.cpp).
        is_marked = isinstance(text, str) and text[:1] + text[-1:] == "<>"
        if kind in (_UNKNOWN, _CONTROL, _USER_DEFINED) or is_marked:
            yield GgufToken(token_id, str(text), kind in (_UNKNOWN, _CONTROL), kind == _UNKNOWN)
