"""Every variable about images: where they may come from, and how large they may be."""

from __future__ import annotations

from pydantic import field_validator

from ...environment import Settings, setting
from ..contract.image_host import ImageHost


class ImageSettings(Settings):
    """Which hosts images are fetched from, and the limits of those that a request brings."""

    image_hosts: tuple[ImageHost, ...] = setting(
        "LLM_IMAGE_HOSTS",
        (),
        description="Hosts that images may be fetched from over https; unset: none",
        takes="names of hosts, with a port where it is not 443, separated by commas",
    )
    max_images: int = setting(
        "LLM_MAX_IMAGES",
        8,
        ge=1,
        le=256,
        description="Most images of one request",
    )
    max_image_bytes: int = setting(
        "LLM_MAX_IMAGE_BYTES",
        8 * 1024 * 1024,
        ge=1024,
        le=256 * 1024 * 1024,
        description="Largest image file, in bytes; one inside a request is also bounded by "
        "LLM_MAX_MESSAGE_BYTES",
    )
    max_image_pixels: int = setting(
        "LLM_MAX_IMAGE_PIXELS",
        16 * 1024 * 1024,
        ge=1024,
        le=64 * 1024 * 1024,
        description="Most pixels of one image",
    )

    @field_validator("image_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        hosts = [ImageHost.parse(text) for text in value.split(",") if text.strip()]
        return tuple(dict.fromkeys(hosts))
