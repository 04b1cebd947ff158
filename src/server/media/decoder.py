"""The process that decodes: `python -m tokenwire.server.media.decoder MAX_PIXELS MAX_SECONDS`.

It reads image files from its standard input and writes each one anew as PNG: one frame, upright,
RGB, without metadata. A process of its own because what decodes may crash on a file that was made
to, or compute for minutes, and only a process can be ended in the middle.
"""

from __future__ import annotations

import io
import resource
import sys
import warnings
from typing import Final

from PIL import Image, ImageOps

from .framing import SIZE

_FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF")
_BASE_BYTES: Final = 768 << 20
_BYTES_A_PIXEL: Final = 32  # decoded, turned upright, over white, as PNG: with room to spare


def main(max_pixels: int, max_seconds: int) -> None:
    """Decodes all of standard input, in order."""
    # A pixel more than the limit is an error, as a header may say less than what follows it.
    Image.MAX_IMAGE_PIXELS = max_pixels
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    num_bytes = _BASE_BYTES + _BYTES_A_PIXEL * max_pixels
    resource.setrlimit(resource.RLIMIT_AS, (num_bytes, num_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (max_seconds, max_seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    while head := stdin.read(SIZE.size):
        png = decode(stdin.read(SIZE.unpack(head)[1]))
        stdout.write(SIZE.pack(png is not None, len(png or b"")))
        stdout.write(png or b"")
    stdout.flush()


def decode(data: bytes) -> bytes | None:
    """Returns the first frame as PNG; None where the file is cut off, damaged or too large."""
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            image.load()
            upright = _flatten(ImageOps.exif_transpose(image))
    # Whatever Pillow meets in a damaged file: OSError, SyntaxError, struct.error, IndexError and
    # more. This process does nothing else.
    except Exception:  # noqa: BLE001 - above
        return None
    png = io.BytesIO()
    upright.info = {}  # Pillow would write profiles and texts of it into the new file
    upright.save(png, "PNG", compress_level=1)
    return png.getvalue()


def _flatten(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits of grey
        image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
