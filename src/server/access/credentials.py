"""Where a call carries its key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

API_KEY_HEADER: Final = "x-api-key"
AUTHORIZATION_HEADER: Final = "authorization"


def key_text_of(metadata: Iterable[tuple[str, str | bytes]]) -> str | None:
    """Returns the text of the key in the metadata of a call or in headers, None without one.

    `x-api-key` counts before `authorization: Bearer`, which a proxy on the way may use for itself.
    """
    found: dict[str, str] = {}
    for name, value in metadata:
        if isinstance(value, str):
            found.setdefault(name.lower(), value.strip())
    if API_KEY_HEADER in found:
        return found[API_KEY_HEADER]
    scheme, _, text = found.get(AUTHORIZATION_HEADER, "").partition(" ")
    return text.strip() if scheme.lower() == "bearer" else None
