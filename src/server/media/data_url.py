"""Images that stand in their own address (RFC 2397)."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from .image_source import RefusedImage

SCHEME: Final = "data:"
_BASE64: Final = ";base64"


def is_data_url(url: str) -> bool:
    """Whether an address holds what it is the address of."""
    return url[: len(SCHEME)].lower() == SCHEME


def read_data_url(url: str, max_bytes: int) -> bytes:
    """Returns the bytes; the type that stands before them is not trusted, nor looked at.

    Raises:
        RefusedImage: they are not in base64, or more than `max_bytes`.
    """
    head, comma, text = url[len(SCHEME) :].partition(",")
    if not comma or not head.lower().endswith(_BASE64):
        raise RefusedImage("a data: address must hold base64: data:image/png;base64,…")
    # Before it is decoded: 4 characters for 3 bytes.
    if len(text) // 4 * 3 > max_bytes + 2:
        raise RefusedImage(f"it has about {len(text) // 4 * 3} bytes, the limit is {max_bytes}")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RefusedImage("its base64 is malformed") from error
