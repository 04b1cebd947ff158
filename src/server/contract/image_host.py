"""A host that images may be fetched from, as the operator lists it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_HTTPS_PORT: Final = 443
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# A last label that begins with a digit would be read as a number by some: 127.1, 0x7f.1.
_NAME: Final = re.compile(rf"(?:{_LABEL}\.)+(?!\d){_LABEL}")


@dataclass(frozen=True, slots=True)
class ImageHost:
    """A host by name, never by number, and the port that it is reached at."""

    name: str
    port: int = _HTTPS_PORT

    @classmethod
    def parse(cls, text: str) -> ImageHost:
        """Reads `images.example.com` or `images.example.com:8443`.

        Raises:
            ValueError: the text is neither.
        """
        name, colon, port = text.strip().lower().partition(":")
        if not _NAME.fullmatch(name) or len(name) > 253:
            raise ValueError(f"'{text.strip()}' is not the name of a host: images.example.com")
        if not colon:
            return cls(name)
        if not re.fullmatch(r"[1-9]\d{0,4}", port) or int(port) > 65535:
            raise ValueError(f"'{text.strip()}' has no port behind its colon")
        return cls(name, int(port))

    def __str__(self) -> str:
        """Returns it as `parse` reads it."""
        return self.name if self.port == _HTTPS_PORT else f"{self.name}:{self.port}"
