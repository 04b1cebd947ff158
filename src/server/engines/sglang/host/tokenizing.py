"""SGLang's tokenizer by itself: text to tokens and back."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any, Final

from ....contract.prompts import PlainText, TokenizedText
from ....contract.token_ids import TokenIds
from ...prompt_checks import check_vocabulary
from ...token_spelling import Spelling, bytes_of

_REPLACEMENT: Final = "\ufffd"


class TextTokenizer:
    """Tokenises without a template. Safe to use from several threads."""

    def __init__(self, manager: Any) -> None:  # SGLang has no types
        self._tokenizer = manager.tokenizer
        self._vocab_size = int(manager.model_config.vocab_size)
        self._spelling = _find_spelling(self._tokenizer)
        self._added: dict[int, bytes] = {
            token_id: token.content.encode()
            for token_id, token in self._tokenizer.added_tokens_decoder.items()
        }
        # A copy, because whether special tokens are read is a state of the tokenizer, which is
        # the same for all threads.
        self._literal: Any = None

    def tokenize(self, text: PlainText) -> TokenizedText:
        """Returns a text's tokens."""
        tokenizer = self._tokenizer if text.parse_special else self._literal_tokenizer()
        ids: list[int] = tokenizer.encode(
            text.text,
            add_special_tokens=text.add_special,
            split_special_tokens=not text.parse_special,
        )
        pieces = self._pieces(ids) if text.wants_pieces else ()
        return TokenizedText(TokenIds.of(ids), tuple(pieces))

    def detokenize(self, token_ids: TokenIds) -> bytes:
        """Returns what tokens stand for.

        Raises:
            InvalidRequest: an id is outside the vocabulary.
        """
        check_vocabulary("token_ids", token_ids, self._vocab_size)
        ids = token_ids.tolist()
        text: str = self._tokenizer.decode(
            ids,
            skip_special_tokens=False,
            clean_up_tokenization_spaces=False,
            spaces_between_special_tokens=False,
        )
        if _REPLACEMENT not in text or self._spelling is None:
            return text.encode()
        return b"".join(self._pieces(ids))

    def _literal_tokenizer(self) -> Any:
        if self._literal is None:
            literal = copy.deepcopy(self._tokenizer)
            literal.split_special_tokens = True
            self._literal = literal  # whole: another thread may take it now
        return self._literal

    def _pieces(self, ids: Sequence[int]) -> list[bytes]:
        # None: an id of the model that its tokenizer has no token for.
        tokens: list[str | None] = self._tokenizer.convert_ids_to_tokens(ids)
        return [self._piece(*pair) for pair in zip(ids, tokens, strict=True)]

    def _piece(self, token_id: int, token: str | None) -> bytes:
        if token_id in self._added:
            return self._added[token_id]
        if token is None:
            return b""
        if self._spelling is None:
            return str(self._tokenizer.decode([token_id])).encode()
        return bytes_of(token, self._spelling)


def _find_spelling(tokenizer: Any) -> Spelling | None:  # transformers has no types
    """Returns how the vocabulary spells bytes; None where that is not known."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or backend.decoder is None:
        return None
    decoder = json.loads(backend.decoder.__getstate__())
    kinds = {part["type"] for part in decoder.get("decoders", [decoder])}
    if "ByteLevel" in kinds:
        return Spelling.BYTE_LEVEL
    return Spelling.SENTENCE_PIECE if kinds & {"ByteFallback", "Metaspace"} else None
