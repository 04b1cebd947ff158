"""Kind and size from the head of a file."""

from __future__ import annotations

import pytest
from tokenwire.server.media.image_header import ImageHeader, read_image_header
from tokenwire.server.media.image_source import RefusedImage

from .files import KINDS, image_file, png_of_size


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        (image_file("PNG", (300, 20)), "PNG"),
        (image_file("JPEG", (300, 20)), "JPEG"),
        (image_file("JPEG", (300, 20), progressive=True, comment=b"\xff\xc0" * 40), "JPEG"),
        (image_file("GIF", (300, 20)), "GIF"),
        (image_file("WEBP", (300, 20)), "WebP"),
        (image_file("WEBP", (300, 20), lossless=True), "WebP"),
        (image_file("WEBP", (300, 20), mode="RGBA", color=(1, 2, 3, 4), exact=True), "WebP"),
    ],
)
def test_size(file: bytes, kind: str) -> None:
    """Each kind tells its size, without its pixels."""
    assert read_image_header(file) == ImageHeader(kind, 300, 20)


def test_bomb() -> None:
    """What a file claims is read however large it is."""
    assert read_image_header(png_of_size(2**31 - 1, 2**31 - 1)).width == 2**31 - 1


@pytest.mark.parametrize("kind", KINDS)
def test_cut_off(kind: str) -> None:
    """A file that ends before its size is told is refused, wherever it ends."""
    file = image_file(kind, (300, 20))
    for length in range(len(file)):
        try:
            header = read_image_header(file[:length])
        except RefusedImage:
            continue
        assert (header.width, header.height) == (300, 20), length


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 64,
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7",
        b"%!PS-Adobe-3.0 EPSF-3.0",
        b"II*\x00\x08\x00\x00\x00" + bytes(64),
        b"BM" + bytes(64),
        b"\x00\x00\x00\x1cftypavif" + bytes(64),
        b"RIFF\x00\x00\x00\x00WAVEfmt " + bytes(64),
        b"RIFF\x00\x00\x00\x00WEBPXXXX" + bytes(64),
        b"\xff\xd8\xff" + b"\xff" * 100_000,
        b"\xff\xd8" + b"\xff\xe0\x00\x02" * 100_000,
        b"\xff\xd8\xff\xe0\x00\x02\x00",
        b"\x89PNG\r\n\x1a\n" + bytes(64),
    ],
)
def test_refused(data: bytes) -> None:
    """Other kinds, and heads that lead nowhere, are refused after a bounded look."""
    with pytest.raises(RefusedImage):
        read_image_header(data)


def test_segments_at_their_limit_and_above() -> None:
    """A JPEG tells its size in one of its first 4096 segments, or not at all."""
    size = b"\xff\xc0\x00\x11\x08" + (20).to_bytes(2, "big") + (300).to_bytes(2, "big") + bytes(8)
    segment = b"\xff\xe0\x00\x02"
    file = b"\xff\xd8" + segment * 4095
    assert read_image_header(file + size) == ImageHeader("JPEG", 300, 20)
    with pytest.raises(RefusedImage, match="not told where it should be"):
        read_image_header(file + segment + size)
