"""How many images a request may have, and how large each may be."""

from __future__ import annotations

from dataclasses import dataclass

from ..settings.fixed_limits import MAX_IMAGE_RATIO, MAX_IMAGE_SIDE
from ..settings.image_settings import ImageSettings
from .image_header import ImageHeader
from .image_source import RefusedImage


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """The most images of one request, and the most bytes and pixels of each.

    `fetches`: there are hosts that images are fetched from.
    """

    max_images: int
    max_bytes: int
    max_pixels: int
    fetches: bool = False

    @classmethod
    def of(cls, settings: ImageSettings) -> ImageLimits:
        """Reads them from the configuration."""
        return cls(
            max_images=settings.max_images,
            max_bytes=settings.max_image_bytes,
            max_pixels=settings.max_image_pixels,
            fetches=bool(settings.image_hosts),
        )

    def check_bytes(self, num_bytes: int) -> None:
        """Raises `RefusedImage` where a file is too large."""
        if num_bytes > self.max_bytes:
            raise RefusedImage(f"it has {num_bytes} bytes, the limit is {self.max_bytes}")

    def check_size(self, header: ImageHeader) -> None:
        """Raises `RefusedImage` where an image is too large, too long or has no pixels."""
        width, height = header.width, header.height
        short, long = sorted((width, height))
        if short < 1:
            raise RefusedImage("it has no pixels")
        if long > MAX_IMAGE_SIDE:
            raise RefusedImage(
                f"it is {width} x {height} pixels, a side has at most {MAX_IMAGE_SIDE}"
            )
        if width * height > self.max_pixels:
            raise RefusedImage(
                f"it is {width} x {height} pixels, at most {self.max_pixels} in all are taken"
            )
        if long > MAX_IMAGE_RATIO * short:
            raise RefusedImage(
                f"it is {width} x {height} pixels, its long side may be at most "
                f"{MAX_IMAGE_RATIO} times the other"
            )
