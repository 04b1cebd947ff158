"""How much text one token can stand for, by SGLang's own tokenizer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

# Normalizers of the package tokenizers that never make a text shorter in bytes, or by so much.
_SHRINKING = {"Prepend": 1, "NFD": 1, "NFKD": 1, "NFC": 3}


def max_token_bytes(tokenizer: Any) -> int:  # transformers has no types
    """Returns an upper bound of the bytes of text that one token can stand for.

    0 where there is none: a tokenizer whose normalizer drops text, such as repeated spaces, or one
    that is not of the package tokenizers. Tokens are counted as they are spelled in the vocabulary,
    where bytes and spaces take as much room as in the text or more.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return 0
    state = backend.normalizer.__getstate__() if backend.normalizer is not None else b"null"
    shrinking = _shrinking(json.loads(state))
    return shrinking * max(len(token.encode()) for token in tokenizer.get_vocab())


def _shrinking(normalizer: Mapping[str, Any] | None) -> int:
    """Returns by what a normalizer can divide the bytes of a text, 0 for any number."""
    if normalizer is None:
        return 1
    if normalizer["type"] == "Sequence":
        factor = 1
        for part in normalizer["normalizers"]:
            factor *= _shrinking(part)
        return factor
    if normalizer["type"] == "Replace":
        # Of a fixed text by one that is no shorter: how SentencePiece spells spaces.
        text = normalizer["pattern"].get("String", "")
        return int(bool(text) and len(normalizer["content"].encode()) >= len(text.encode()))
    return _SHRINKING.get(normalizer["type"], 0)
