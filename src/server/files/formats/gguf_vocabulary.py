"""The tokens of a GGUF file, as its vocabulary spells them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .gguf_file import read_gguf_file

_KIND: Final = "tokenizer.ggml.model"
_TOKENS: Final = "tokenizer.ggml.tokens"


@dataclass(frozen=True, slots=True)
class GgufVocabulary:
    """`kind` is the tokenizer's, such as `gpt2` or `llama`; `tokens` are in the order of ids."""

    kind: str
    tokens: tuple[str, ...]


def read_gguf_vocabulary(path: Path) -> GgufVocabulary:
    """Reads the vocabulary of a file, empty where it has none. Blocks for up to 0.5 s.

    Raises:
        MalformedGguf: as `read_gguf_file`.
    """
    keys = read_gguf_file(path, keep=frozenset((_TOKENS,))).keys
    kind, tokens = keys.get(_KIND), keys.get(_TOKENS)
    texts = [str(token) for token in tokens] if isinstance(tokens, list) else []
    return GgufVocabulary(kind if isinstance(kind, str) else "", tuple(texts))
