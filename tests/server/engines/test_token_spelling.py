"""Tokens as vocabularies spell them."""

from __future__ import annotations

import pytest
from tokenwire.server.engines.token_spelling import Spelling, bytes_of


@pytest.mark.parametrize(
    ("token", "data"),
    [
        ("\u0120the", b" the"),
        ("\u010a", b"\n"),
        ("\u00f0\u0141\u00a6", b"\xf0\x9f\xa6"),
        ("<|im_end|>", b"<|im_end|>"),
        ("<\uff5cfim\u2581hole\uff5c>", "<\uff5cfim\u2581hole\uff5c>".encode()),
        ("", b""),
    ],
)
def test_byte_level(token: str, data: bytes) -> None:
    """A letter stands for a byte; a token with others is one that was added, as it is."""
    assert bytes_of(token, Spelling.BYTE_LEVEL) == data


def test_byte_level_has_every_byte() -> None:
    """Every byte has exactly one letter, which is none that prints as nothing."""
    letters = [chr(code) for code in range(0x21, 0x144) if code not in (*range(0x7F, 0xA1), 0xAD)]
    assert sorted(bytes_of(letter, Spelling.BYTE_LEVEL) for letter in letters) == [
        bytes([byte]) for byte in range(0x100)
    ]


@pytest.mark.parametrize(
    ("token", "data"),
    [
        ("\u2581the", b" the"),
        ("<0xE2>", b"\xe2"),
        ("<0xE2", b"<0xE2"),
        ("<s>", b"<s>"),
        ("\u00e9", "\u00e9".encode()),
    ],
)
def test_sentence_piece(token: str, data: bytes) -> None:
    """Spaces and single bytes have their own spelling, and the rest is text."""
    assert bytes_of(token, Spelling.SENTENCE_PIECE) == data
