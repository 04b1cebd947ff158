"""The tokenizer of a loaded model by itself: text to tokens and back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

from ....contract.prompts import PlainText, TokenizedText
from ....contract.token_ids import TokenIds
from ....files.formats.gguf_vocabulary import read_gguf_vocabulary
from ...prompt_checks import check_vocabulary
from ...token_spelling import Spelling, bytes_of
from ..client import LlamaCppClient, ids_to_json

_SPELLINGS: Final = {"gpt2": Spelling.BYTE_LEVEL, "llama": Spelling.SENTENCE_PIECE}
_REPLACEMENT: Final = "\ufffd"


class TextTokenizer:
    """Asks the server; where its answer is no whole text, the vocabulary in the file."""

    def __init__(self, client: LlamaCppClient, vocab_size: int, model_path: Path) -> None:
        self._client = client
        self._vocab_size = vocab_size
        self._model_path = model_path
        self._spelled: tuple[bytes, ...] | None = None

    async def tokenize(self, text: PlainText) -> TokenizedText:
        """Returns a text's tokens.

        Raises:
            Unreachable: the server does not answer.
        """
        body = {
            "content": text.text,
            "add_special": text.add_special,
            "parse_special": text.parse_special,
            "with_pieces": text.wants_pieces,
        }
        tokens: list[Any] = (await self._client.post("/tokenize", body))["tokens"]
        if not text.wants_pieces:
            return TokenizedText(TokenIds.of(tokens))
        return TokenizedText(
            TokenIds.of([token["id"] for token in tokens]),
            tuple(_piece(token["piece"]) for token in tokens),
        )

    async def detokenize(self, token_ids: TokenIds) -> bytes:
        """Returns what tokens stand for.

        Raises:
            InvalidRequest: an id is outside the vocabulary.
            Unreachable: the server does not answer.
        """
        check_vocabulary("token_ids", token_ids, self._vocab_size)
        answer = await self._client.post("/detokenize", {"tokens": await ids_to_json(token_ids)})
        content: str = answer["content"]
        if _REPLACEMENT not in content:
            return content.encode()
        # The server's JSON has this in place of every byte that is no whole character.
        if self._spelled is None:
            self._spelled = await asyncio.to_thread(_read_spelled, self._model_path)
        if not self._spelled:
            return content.encode()
        return b"".join(self._spelled[token_id] for token_id in token_ids)


def _piece(piece: str | list[int]) -> bytes:
    # A part of a character comes as a list of bytes.
    return piece.encode() if isinstance(piece, str) else bytes(piece)


def _read_spelled(model_path: Path) -> tuple[bytes, ...]:
    """Reads what each token stands for; empty where the vocabulary is spelled otherwise."""
    vocabulary = read_gguf_vocabulary(model_path)
    spelling = _SPELLINGS.get(vocabulary.kind)
    if spelling is None:
        return ()
    return tuple(bytes_of(token, spelling) for token in vocabulary.tokens)
