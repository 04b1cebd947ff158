"""The images of a request, from what came to what an engine is given."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence

import pytest
from tokenwire.server.contract.errors import AtCapacity, InvalidRequest
from tokenwire.server.media import images as images_module
from tokenwire.server.media.decoding import ImageDecoder
from tokenwire.server.media.fetching import ImageFetcher
from tokenwire.server.media.image_limits import ImageLimits
from tokenwire.server.media.image_source import ImageSource, RefusedImage
from tokenwire.server.media.images import Images

from .files import image_file, opened, png_of_size
from .image_server import found, image_server

LIMITS = ImageLimits(max_images=3, max_bytes=1 << 20, max_pixels=1 << 20)
FIELD = "messages[0].content[1].image"
PNG = image_file("PNG", (5, 4))


def make_images(fetcher: ImageFetcher | None = None) -> Images:
    return Images(LIMITS, fetcher or ImageFetcher([]), ImageDecoder(LIMITS))


def data_url(data: bytes) -> str:
    return "data:image/gif;base64," + base64.b64encode(data).decode()


async def test_every_source() -> None:
    """Bytes, a data: address and an https: address become PNGs, in order."""
    async with image_server() as server:
        server.answers["image"] = found(image_file("WEBP", (3, 2)))
        sources = [
            ImageSource(FIELD, data=PNG),
            ImageSource(FIELD, url=data_url(image_file("GIF", (7, 6)))),
            ImageSource(FIELD, url=server.url()),
        ]
        async with make_images(server.fetcher()).provide(sources) as decoded:
            assert [opened(png).size for png in decoded] == [(5, 4), (7, 6), (3, 2)]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ({"data": image_file("JPEG", (64, 64))[:-40]}, "cut off"),
        ({"data": png_of_size(1, 100_000)}, "8192"),
        ({"data": png_of_size(30_000, 30_000)}, "8192"),
        ({"url": data_url(b"none")}, "kinds"),
        ({"url": "data:image/png,x"}, "base64"),
        ({"url": "https://images.example.com/secret"}, "fetches no images"),
        ({"url": "file:///etc/passwd"}, "fetches no images"),
    ],
)
async def test_refusal_names_the_field(source: dict[str, object], why: str) -> None:
    """Whatever is wrong with an image is told by its field, without its address."""
    refused_source = ImageSource(FIELD, **source)  # type: ignore[arg-type] # of a table
    with pytest.raises(InvalidRequest, match=why) as refused:
        async with make_images().provide([ImageSource("other", data=PNG), refused_source]):
            pass
    assert refused.value.violations[0][0] == FIELD
    assert "secret" not in str(refused.value)


async def test_too_many() -> None:
    """As many as the limit are taken; the first image beyond it is named."""
    sources = [ImageSource(f"messages[{index}]", data=PNG) for index in range(4)]
    async with make_images().provide(sources[:3]) as provided:
        assert len(provided) == 3
    with pytest.raises(InvalidRequest, match="at most 3 images, this one has 4") as refused:
        async with make_images().provide(sources):
            pass
    assert refused.value.violations[0][0] == "messages[3]"


async def test_held_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """While requests hold images of the limit, one more is refused; later it is not."""
    images = make_images()
    source = ImageSource(FIELD, data=PNG)
    async with images.provide([source]) as provided:
        num_bytes = len(provided[0])
        monkeypatch.setattr(images_module, "MAX_HELD_IMAGE_BYTES", 2 * num_bytes)
        async with images.provide([source]):
            pass
        monkeypatch.setattr(images_module, "MAX_HELD_IMAGE_BYTES", 2 * num_bytes - 1)
        with pytest.raises(AtCapacity):
            async with images.provide([source]):
                pass
        async with images.provide([]) as none:
            assert none == ()
    async with images.provide([source]):
        pass


def test_shown_without_contents() -> None:
    """Neither bytes nor address of an image are in its text."""
    assert "secret" not in repr(ImageSource(FIELD, b"secret", "https://secret"))


async def test_bytes_of_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the images of a request are decoded to has a limit: one byte above is refused."""
    images = make_images()
    source = ImageSource(FIELD, data=PNG)
    async with images.provide([source]) as provided:
        num_bytes = len(provided[0])
    monkeypatch.setattr(images_module, "MAX_REQUEST_IMAGE_BYTES", num_bytes)
    async with images.provide([source]):
        pass
    monkeypatch.setattr(images_module, "MAX_REQUEST_IMAGE_BYTES", num_bytes - 1)
    with pytest.raises(InvalidRequest, match=f"at most {num_bytes - 1} bytes"):
        async with images.provide([source]):
            pass


async def test_one_request_more_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit a request waits until the images of another one are here."""
    monkeypatch.setattr(images_module, "MAX_CONCURRENT_FETCHES", 1)
    gate, entered = asyncio.Event(), asyncio.Semaphore(0)

    class SlowDecoder(ImageDecoder):
        async def decode(self, files: Sequence[bytes]) -> list[bytes | RefusedImage]:
            entered.release()
            await gate.wait()
            return [*files]

    images = Images(LIMITS, ImageFetcher([]), SlowDecoder(LIMITS))

    async def provide() -> None:
        async with images.provide([ImageSource(FIELD, data=PNG)]):
            pass

    async with asyncio.timeout(45), asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(provide())
        await entered.acquire()
        await asyncio.sleep(0)
        assert entered.locked()  # the second has not come
        gate.set()
        await entered.acquire()
