"""The kind and the size of an image file, from its first bytes: nothing is decoded for it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from .image_source import RefusedImage

FORMATS: Final = ("PNG", "JPEG", "WebP", "GIF")
"""The kinds of file that are taken."""

_CUT_OFF: Final = "it ends before its size is told"
# Of a file that a camera or a program wrote a few dozen; each is a turn of a loop here.
_MAX_JPEG_SEGMENTS: Final = 4096
_NO_JPEG_FRAME: Final = (0xC4, 0xC8, 0xCC)  # of 0xC0 to 0xCF the ones that hold no size (ITU T.81)


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What an image file says of itself. Sides are in pixels, as they are stored."""

    format: str
    width: int
    height: int


def read_image_header(data: bytes) -> ImageHeader:
    """Reads kind and size, whatever name or content type came with the bytes.

    Raises:
        RefusedImage: the file is of another kind, or too short to tell its size.
    """
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return ImageHeader("PNG", *_read_png(data))
        if data.startswith(b"\xff\xd8\xff"):
            return ImageHeader("JPEG", *_read_jpeg(data))
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return ImageHeader("WebP", *_read_webp(data))
        if data.startswith((b"GIF87a", b"GIF89a")):
            return ImageHeader("GIF", *struct.unpack_from("<HH", data, 6))
    except (struct.error, IndexError) as error:
        raise RefusedImage(_CUT_OFF) from error
    raise RefusedImage(f"it is no file of the kinds {', '.join(FORMATS)}")


def _read_png(data: bytes) -> tuple[int, int]:
    if data[12:16] != b"IHDR":
        raise RefusedImage(_CUT_OFF)
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _read_jpeg(data: bytes) -> tuple[int, int]:
    position = 2
    for _ in range(_MAX_JPEG_SEGMENTS):
        if data[position] != 0xFF:
            break
        marker = data[position + 1]
        if marker == 0xFF:  # padding
            position += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in _NO_JPEG_FRAME:
            height, width = struct.unpack_from(">HH", data, position + 5)
            return width, height
        (length,) = struct.unpack_from(">H", data, position + 2)
        position += 2 + length
    raise RefusedImage("its size is not told where it should be")


def _read_webp(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        low, middle, high = struct.unpack_from("<HHH", data, 24)  # two numbers of 24 bits
        return (low | (middle & 0xFF) << 16) + 1, (middle >> 8 | high << 8) + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise RefusedImage("its size is not told where it should be")
