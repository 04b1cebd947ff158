"""How tokens are spelled in a vocabulary, and the bytes that they stand for."""

from __future__ import annotations

import enum
import re
from typing import Final

_BYTE_TOKEN: Final = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE: Final = "\u2581"


class Spelling(enum.Enum):
    """The ways in which vocabularies spell bytes and spaces.

    BYTE_LEVEL has a letter for every byte (GPT-2's `bytes_to_unicode`). SENTENCE_PIECE has text,
    with U+2581 for spaces and `<0xE2>` for a byte.
    """

    BYTE_LEVEL = "byte level"
    SENTENCE_PIECE = "sentence piece"


def _byte_of_letter() -> dict[str, int]:
    # Printable bytes of Latin-1 are themselves; the others follow from U+0100 on.
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    letters = {chr(byte): byte for byte in printable}
    return letters | {chr(0x100 + index): byte for index, byte in enumerate(others)}


_BYTES: Final = _byte_of_letter()


def bytes_of(token: str, spelling: Spelling) -> bytes:
    """Returns what a token of the vocabulary stands for; added tokens stand for their own text."""
    if spelling is Spelling.BYTE_LEVEL:
        if all(letter in _BYTES for letter in token):
            return bytes(_BYTES[letter] for letter in token)
        return token.encode()
    match = _BYTE_TOKEN.fullmatch(token)
    if match:
        return bytes([int(match[1], 16)])
    return token.replace(_SPACE, " ").encode()
