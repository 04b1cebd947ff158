"""What each token says, in bytes: part of a character where the token is one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from ....token_spelling import Spelling, bytes_of

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

    def named(self, token_id: int) -> bytes:
        """Returns the bytes of a token, of a special one its name, as prompts have it."""
        name = self.of(token_id) or self._tokenizer.convert_ids_to_tokens(token_id) or b""
        return name if isinstance(name, bytes) else str(name).encode()

    def decode(self, token_ids: list[int], *, skips_special: bool) -> str:
        """Returns the text of tokens together, as SGLang decodes those of an answer."""
        return str(
            self._tokenizer.decode(
                token_ids, skip_special_tokens=skips_special, spaces_between_special_tokens=True
            )
        )

    def _find(self, token_id: int) -> bytes:
        if token_id in self._special_ids:
            return b""
        if token_id in self._added:
            return self._added[token_id]
        if not self._kinds:
            return str(self._tokenizer.decode([token_id])).encode()
        token = self._tokenizer.convert_ids_to_tokens(token_id) or ""
        if "ByteLevel" in self._kinds:
            return bytes_of(token, Spelling.BYTE_LEVEL)
        if "ByteFallback" in self._kinds:
            return bytes_of(token, Spelling.SENTENCE_PIECE)
        return str(token).replace(_SPACE, " ").encode()


def _kinds_of(tokenizer: Any) -> frozenset[str]:
    """Names the steps of a decoder of the package tokenizers; none for another tokenizer."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    decoder = getattr(backend, "decoder", None)
    if decoder is None:
        return frozenset()
    state: Mapping[str, Any] = json.loads(decoder.__getstate__())
    return frozenset(step["type"] for step in (state, *state.get("decoders", ())))
