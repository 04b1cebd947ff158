"""What each token says, in bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from tokenwire.server.engines.sglang.host.output.token_texts import TokenTexts

SENTENCE_PIECE = {
    "type": "Sequence",
    "decoders": [{"type": "Replace"}, {"type": "ByteFallback"}, {"type": "Fuse"}],
}


@dataclass
class Added:
    content: str
    special: bool

    def __str__(self) -> str:
        return self.content


class Decoder:
    """Tells its state as those of the package tokenizers do."""

    def __init__(self, state: object) -> None:
        self._state = state

    def __getstate__(self) -> bytes:
        return json.dumps(self._state).encode()


class Tokenizer:
    """What is read of a tokenizer."""

    def __init__(self, tokens: Sequence[str], decoder: object) -> None:
        self._tokens = tokens
        self.backend_tokenizer: Any = self
        self.decoder = None if decoder is None else Decoder(decoder)
        self.all_special_ids = [90]
        self.added_tokens_decoder = {91: Added("<tool>", False), 92: Added("<hidden>", True)}

    def convert_ids_to_tokens(self, token_id: int) -> str | None:
        return self._tokens[token_id] if token_id < len(self._tokens) else None

    def decode(self, ids: list[int]) -> str:
        return f"decoded {ids[0]}"


@pytest.mark.parametrize(
    ("token", "decoder", "told"),
    [
        ("Ġcafé".replace("é", "Ã©"), {"type": "ByteLevel"}, " café".encode()),
        ("ðŁ", {"type": "ByteLevel"}, b"\xf0\x9f"),
        ("Ċ", {"type": "ByteLevel"}, b"\n"),
        ("\u2581word", SENTENCE_PIECE, b" word"),
        ("<0xE6>", SENTENCE_PIECE, b"\xe6"),
        ("漢", SENTENCE_PIECE, "漢".encode()),
        ("<0xE6>", {"type": "Metaspace"}, b"<0xE6>"),
        ("x", None, b"decoded 0"),
    ],
)
def test_bytes_of_a_token(token: str, decoder: object, told: bytes) -> None:
    """Whole texts and parts of characters are found, however the vocabulary spells them."""
    texts = TokenTexts(Tokenizer([token], decoder))
    assert texts.of(0) == told
    assert texts.of(0) == told


@pytest.mark.parametrize(("token_id", "told"), [(90, b""), (91, b"<tool>"), (92, b""), (99, b"")])
def test_added_tokens(token_id: int, told: bytes) -> None:
    """Special tokens and ids without a token say nothing; other added ones say themselves."""
    assert TokenTexts(Tokenizer(["a"], {"type": "ByteLevel"})).of(token_id) == told


def test_special_tokens_have_names_in_a_prompt() -> None:
    """Where the answer has no text of them; all others are named by what they say."""
    tokenizer = Tokenizer(["a", *["b"] * 89, "<s>", "<tool>", "<hidden>"], {"type": "Fuse"})
    texts = TokenTexts(tokenizer)
    assert [texts.named(each) for each in (0, 90, 91, 92, 93)] == [
        b"a",
        b"<s>",
        b"<tool>",
        b"<hidden>",
        b"",
    ]
    assert texts.of(90) == texts.of(92) == b""
