"""From the images of a request to what an engine is given of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from ..contract.errors import AtCapacity, InvalidRequest
from ..settings.fixed_limits import (
    MAX_CONCURRENT_FETCHES,
    MAX_HELD_IMAGE_BYTES,
    MAX_REQUEST_IMAGE_BYTES,
)
from ..settings.image_settings import ImageSettings
from .data_url import is_data_url, read_data_url
from .decoding import ImageDecoder
from .fetching import ImageFetcher
from .image_limits import ImageLimits
from .image_source import ImageSource, RefusedImage


class Images:
    """Fetches, checks and decodes images, and bounds how many are held.

    async with images.provide(sources) as decoded:
        ...  # one PNG for each source
    """

    def __init__(self, limits: ImageLimits, fetcher: ImageFetcher, decoder: ImageDecoder) -> None:
        self.limits = limits
        self._fetcher = fetcher
        self._decoder = decoder
        self._fetches = asyncio.Semaphore(MAX_CONCURRENT_FETCHES)
        self._num_bytes_held = 0

    @asynccontextmanager
    async def provide(self, sources: Sequence[ImageSource]) -> AsyncGenerator[tuple[bytes, ...]]:
        """Returns each image as PNG, upright and RGB, and counts their bytes for the body's time.

        Raises:
            InvalidRequest: there are too many, or one cannot be taken. Names the field.
            AtCapacity: the requests that run, or wait, hold too many bytes of images.
        """
        decoded = await self._decode(sources) if sources else ()
        num_bytes = sum(map(len, decoded))
        if self._num_bytes_held and self._num_bytes_held + num_bytes > MAX_HELD_IMAGE_BYTES:
            raise AtCapacity(
                f"requests hold images of {self._num_bytes_held} bytes, and with {num_bytes} more "
                f"they would be over {MAX_HELD_IMAGE_BYTES}"
            )
        self._num_bytes_held += num_bytes
        try:
            yield decoded
        finally:
            self._num_bytes_held -= num_bytes

    async def _decode(self, sources: Sequence[ImageSource]) -> tuple[bytes, ...]:
        limit = self.limits.max_images
        if len(sources) > limit:
            raise InvalidRequest(
                sources[limit].field,
                f"a request has at most {limit} images, this one has {len(sources)}",
            )
        async with self._fetches:
            files = [await self._get(source) for source in sources]
            outcomes = await self._decoder.decode(files)
        decoded: list[bytes] = []
        num_bytes = 0
        for source, outcome in zip(sources, outcomes, strict=True):
            if isinstance(outcome, RefusedImage):
                raise InvalidRequest(source.field, str(outcome))
            num_bytes += len(outcome)
            if num_bytes > MAX_REQUEST_IMAGE_BYTES:
                raise InvalidRequest(
                    source.field,
                    f"the images of a request, as PNG, have at most {MAX_REQUEST_IMAGE_BYTES} "
                    f"bytes together, up to this one they have {num_bytes}",
                )
            decoded.append(outcome)
        return tuple(decoded)

    async def _get(self, source: ImageSource) -> bytes:
        limit = self.limits.max_bytes
        try:
            if source.data:
                data = source.data
            elif is_data_url(source.url):
                data = await asyncio.to_thread(read_data_url, source.url, limit)
            else:
                data = await self._fetcher.fetch(source.url, limit)
            self._decoder.check(data)
        except RefusedImage as error:
            raise InvalidRequest(source.field, str(error)) from error
        return data


def make_images(settings: ImageSettings) -> Images:
    """Makes what takes images as the configuration says."""
    limits = ImageLimits.of(settings)
    return Images(limits, ImageFetcher(settings.image_hosts), ImageDecoder(limits))
