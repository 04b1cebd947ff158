"""What each token says, in bytes: part of a character where the token is one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

_BYTE_FALLBACK_LENGTH: Final = len("<0x00>")
_SPACE: Final = "\u2581"


class TokenTexts:
    """Finds the bytes of tokens, each once.

    Special tokens say nothing, as in the text of an answer.
    """

    def __init__(self, tokenizer: Any) -> None:  # transformers has no types
        self._tokenizer = tokenizer
        self._texts: dict[int, bytes] = {}
        self._special_ids = frozenset(tokenizer.all_special_ids)
        self._added = {
            token_id: b"" if token.special else str(token).encode()
            for token_id, token in getattr(tokenizer, "added_tokens_decoder", {}).items()
        }
        self._kinds = _kinds_of(tokenizer)

    def of(self, token_id: int) -> bytes:
        """Returns the bytes of a token; none for an id that stands for no token."""
        text = self._texts.get(token_id)
        if text is None:
            text = self._texts[token_id] = self._find(token_id)
        return text

    def _find(self, token_id: int) -> bytes:
        if token_id in self._special_ids:
            return b""
        if token_id in self._added:
            return self._added[token_id]
        if not self._kinds:
            return str(self._tokenizer.decode([token_id])).encode()
        token = self._tokenizer.convert_ids_to_tokens(token_id) or ""
        if "ByteLevel" in self._kinds:
            return bytes(_BYTES[character] for character in token if character in _BYTES)
        if _is_byte(token) and "ByteFallback" in self._kinds:
            return bytes.fromhex(token[3:5])
        return str(token).replace(_SPACE, " ").encode()


def _kinds_of(tokenizer: Any) -> frozenset[str]:
    """Names the steps of a decoder of the package tokenizers; none for another tokenizer."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    decoder = getattr(backend, "decoder", None)
    if decoder is None:
        return frozenset()
    state: Mapping[str, Any] = json.loads(decoder.__getstate__())
    return frozenset(step["type"] for step in (state, *state.get("decoders", ())))


def _is_byte(token: str) -> bool:
    return len(token) == _BYTE_FALLBACK_LENGTH and token.startswith("<0x") and token.endswith(">")


def _byte_characters() -> dict[str, int]:
    """The characters that stand for bytes in vocabularies of bytes (GPT-2, `bytes_to_unicode`)."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(0x100) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {
        chr(0x100 + place): byte for place, byte in enumerate(hidden)
    }


_BYTES: Final = _byte_characters()
