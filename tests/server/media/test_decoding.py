"""Image files to PNG."""

from __future__ import annotations

import asyncio
import io
import signal
from typing import Any

import pytest
from PIL import Image
from tokenwire.server.media import decoding
from tokenwire.server.media.decoder import decode
from tokenwire.server.media.decoding import ImageDecoder
from tokenwire.server.media.image_limits import ImageLimits
from tokenwire.server.media.image_source import RefusedImage

from .files import KINDS, image_file, jpeg_of_scans, opened, png_of_size

LIMITS = ImageLimits(max_images=4, max_bytes=1 << 20, max_pixels=1 << 22)


def animation() -> bytes:
    frames = [Image.new("RGB", (8, 6), color) for color in ("red", "blue", "green")]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


def with_metadata() -> bytes:
    """A JPEG that lies on its side, and tells where it was taken."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it right
    exif[0x010E] = "a secret place"
    return image_file(
        "JPEG", (8, 6), exif=exif, icc_profile=b"a secret profile", comment=b"a secret word"
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_kinds(kind: str) -> None:
    """Every kind becomes an RGB PNG of the same size."""
    (png,) = await ImageDecoder(LIMITS).decode([image_file(kind, (8, 6))])
    assert isinstance(png, bytes)
    image = opened(png)
    assert (image.mode, image.size) == ("RGB", (8, 6))
    red, green, blue = image.getpixel((4, 3))  # type: ignore[misc] # of RGB
    assert red > 240
    assert max(green, blue) < 16


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("L", 128, (128, 128, 128)),
        ("1", 1, (255, 255, 255)),
        ("I;16", 0x8080, (128, 128, 128)),
        ("RGBA", (255, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (255, 0, 0, 255), (255, 0, 0)),
        ("LA", (0, 0), (255, 255, 255)),
    ],
)
def test_modes(mode: str, color: object, expected: tuple[int, int, int]) -> None:
    """Grey, 16 bits and transparency become RGB; what is transparent is white."""
    png = decode(image_file("PNG", (2, 2), color, mode))
    assert png is not None
    assert opened(png).getpixel((0, 0)) == expected


def test_upright_and_without_metadata() -> None:
    """The orientation is applied, and nothing else of the metadata is kept."""
    file = with_metadata()
    png = decode(file)
    assert b"a secret" in file
    assert png is not None
    assert b"a secret" not in png
    assert (opened(png).size, opened(png).info) == ((6, 8), {})


def test_first_frame() -> None:
    """Of an animation the first frame is taken."""
    png = decode(animation())
    assert png is not None
    assert opened(png).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("file", "why"),
    [
        (png_of_size(100_000, 100_000), "8192"),
        (png_of_size(1, 100_000), "8192"),
        (png_of_size(8192, 8192), "at most 4194304 in all"),
        (png_of_size(8000, 10), "100 times"),
        (png_of_size(0, 10), "no pixels"),
        (bytes(1 << 21), "bytes, the limit is 1048576"),
        (b"#!/bin/sh", "no file of the kinds PNG, JPEG, WebP, GIF"),
    ],
)
async def test_refused_by_its_head(file: bytes, why: str) -> None:
    """What is too large, or no image, is refused before anything is decoded."""
    with pytest.raises(RefusedImage, match=why):
        ImageDecoder(LIMITS).check(file)


@pytest.mark.parametrize(
    ("width", "height", "words"),
    [
        (8192, 512, ""),  # as many pixels as may be, and as long a side
        (8193, 511, "8192"),
        (512, 8193, "8192"),
        (2048, 2048, ""),
        (2049, 2048, "at most 4194304 in all"),
        (8100, 81, ""),
        (8101, 81, "100 times"),
        (81, 8101, "100 times"),
    ],
)
def test_sizes_at_their_limits_and_above(width: int, height: int, words: str) -> None:
    """A side of 8192 pixels, 100 times the other, the pixels of the setting: and no more."""
    decoder = ImageDecoder(LIMITS)
    if not words:
        decoder.check(png_of_size(width, height))
        return
    with pytest.raises(RefusedImage, match=words):
        decoder.check(png_of_size(width, height))


def test_a_file_at_its_limit_and_above() -> None:
    """A file of the limit is looked at, one of a byte more is not."""
    file = png_of_size(8, 6)
    decoder = ImageDecoder(ImageLimits(max_images=4, max_bytes=len(file), max_pixels=1 << 22))
    decoder.check(file)
    with pytest.raises(RefusedImage, match=f"has {len(file) + 1} bytes, the limit is {len(file)}"):
        decoder.check(file + b"x")


async def test_damaged_beside_good() -> None:
    """A file that is cut off is told apart from those beside it."""
    good = image_file("PNG", (64, 64))
    files = [good, good[:-40], png_of_size(64, 64), image_file("JPEG", (99, 9))[:-90], good]
    outcomes = await ImageDecoder(LIMITS).decode(files)
    assert [isinstance(outcome, bytes) for outcome in outcomes] == [True, False, False, False, True]
    assert "cut off or damaged" in str(outcomes[1])


async def test_more_than_the_head_says() -> None:
    """A frame larger than the head of its file is refused while it is decoded."""
    small = ImageLimits(max_images=4, max_bytes=1 << 20, max_pixels=1024)
    file = bytearray(image_file("GIF", (200, 200)))
    file[6:10] = b"\x08\x00\x08\x00"
    decoder = ImageDecoder(small)
    decoder.check(bytes(file))
    (outcome,) = await decoder.decode([bytes(file)])
    assert isinstance(outcome, RefusedImage)


async def test_slow_file_is_given_up() -> None:
    """A file that decodes for minutes is ended with its process, and another is decoded then."""
    decoder = ImageDecoder(LIMITS, decode_s=1.0)
    file = jpeg_of_scans(2000, 20_000)
    decoder.check(file)
    (outcome,) = await decoder.decode([file])
    assert "too long" in str(outcome)


async def test_cancelled_decoding_ends_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who gives up leaves no process behind, and a free turn."""
    started = asyncio.Queue[asyncio.subprocess.Process]()
    start = asyncio.create_subprocess_exec

    async def watch(*arguments: str, **options: Any) -> asyncio.subprocess.Process:
        process = await start(*arguments, **options)
        started.put_nowait(process)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", watch)
    decoder = ImageDecoder(LIMITS)
    file = jpeg_of_scans(2000, 20_000)
    running = [asyncio.create_task(decoder.decode([file])) for _ in range(2)]
    processes = [await started.get() for _ in running]
    for task in running:
        task.cancel()
    await asyncio.wait(running)
    assert all(task.cancelled() for task in running)
    assert [process.returncode for process in processes] == [-signal.SIGKILL] * 2
    assert isinstance((await decoder.decode([image_file()]))[0], bytes)


async def test_one_request_more_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit a request waits until another one's images are decoded."""
    monkeypatch.setattr(decoding, "MAX_CONCURRENT_DECODES", 1)
    gate, entered = asyncio.Event(), asyncio.Semaphore(0)

    class SlowDecoder(ImageDecoder):
        async def _run(self, files: bytes) -> bytes:  # noqa: ARG002
            entered.release()
            await gate.wait()
            return b""  # of no files

    decoder = SlowDecoder(LIMITS)
    async with asyncio.timeout(45), asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(decoder.decode([]))
        await entered.acquire()
        await asyncio.sleep(0)
        assert entered.locked()  # the second has not come
        gate.set()
        await entered.acquire()
