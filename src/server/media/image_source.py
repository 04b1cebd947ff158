"""An image as a request gives it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImageSource:
    """The bytes of a file, or an address where `data` is empty; `field` names it in errors.

    Neither is shown where this value is printed: they are the caller's own.
    """

    field: str
    data: bytes = dataclasses.field(default=b"", repr=False)
    url: str = dataclasses.field(default="", repr=False)


class RefusedImage(ValueError):
    """An image that is not taken; the message says why, without its address or its bytes."""
