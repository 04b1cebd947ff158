"""Images of messages from protos to the domain, and their limits the other way."""

from __future__ import annotations

from ....generated.tokenwire.v1 import chat_pb2, models_pb2
from ...contract.errors import InvalidRequest
from ...contract.prompts import ImagePart
from ...media.image_header import FORMATS
from ...media.image_limits import ImageLimits
from ...media.image_source import ImageSource
from ...settings.fixed_limits import MAX_IMAGE_RATIO, MAX_IMAGE_SIDE


def decode_parts(
    message: chat_pb2.Message, field: str, images: list[ImageSource]
) -> tuple[str | ImagePart, ...]:
    """Returns text and images in order, and adds the images to `images`; empty without an image.

    `field` is the path of the message.

    Raises:
        InvalidRequest: an image is empty, or in a message that is not of the user.
    """
    if not any(part.HasField("image") for part in message.content):
        return ()
    parts: list[str | ImagePart] = []
    for index, part in enumerate(message.content):
        if not part.HasField("image"):
            parts.append(part.text)
            continue
        path = f"{field}.content[{index}].image"
        if message.role != chat_pb2.ROLE_USER:
            raise InvalidRequest(path, "only a message of the user may hold an image")
        if not part.image.data and not part.image.url:
            raise InvalidRequest(path, "is empty")
        parts.append(ImagePart(len(images)))
        images.append(ImageSource(path, part.image.data, part.image.url))
    return tuple(parts)


def encode_image_limits(limits: ImageLimits) -> models_pb2.ImageLimits:
    """Tells what an image may be."""
    return models_pb2.ImageLimits(
        max_images=limits.max_images,
        max_bytes=limits.max_bytes,
        max_pixels=limits.max_pixels,
        max_side=MAX_IMAGE_SIDE,
        max_side_ratio=MAX_IMAGE_RATIO,
        formats=FORMATS,
        fetches=limits.fetches,
    )
