"""Image files of every kind that is taken, made by Pillow, and some that no camera makes."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image

KINDS = ("PNG", "JPEG", "WEBP", "GIF")


def image_file(
    kind: str = "PNG",
    size: tuple[int, int] = (8, 6),
    color: Any = "red",
    mode: str = "RGB",
    **options: Any,
) -> bytes:
    """An image of one colour, as a file."""
    file = io.BytesIO()
    Image.new(mode, size, color).save(file, kind, **options)
    return file.getvalue()


def png_of_size(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and holds a few bytes of it: a decompression bomb's head."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(64))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def jpeg_of_scans(side: int, num_scans: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again: small, and slow to decode."""
    file = image_file("JPEG", (side, side), progressive=True)
    start = file.rindex(b"\xff\xda")
    end = file.rindex(b"\xff\xd9")
    return file[:start] + file[start:end] * num_scans + file[end:]


def opened(png: bytes) -> Image.Image:
    """The image in a file, decoded."""
    image = Image.open(io.BytesIO(png), formats=("PNG",))
    image.load()
    return image
