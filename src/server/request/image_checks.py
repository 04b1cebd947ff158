"""The images of a call: whether the model sees them, before anything of them is fetched."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Final

import msgspec

from ..contract.engine import ModelInfo
from ..contract.errors import InvalidRequest
from ..contract.prompts import ChatPrompt, Prompt
from ..media.images import Images
from .calls import Call

_MAX_NAMED: Final = 16  # trailers are small


def check_images(call: Call, model: ModelInfo) -> None:
    """Raises `InvalidRequest`, naming the first 16 images, where the model sees none.

    Also where a last message is to be continued: both engines do that with ids, and take text.
    """
    if call.images and not model.capabilities.images:
        why = f"'{call.model_id}' sees no images: it does not have the capability `images`"
        first, *others = [(image.field, why) for image in call.images[:_MAX_NAMED]]
        raise InvalidRequest(*first, *others)
    prompt = call.prompt
    if call.images and isinstance(prompt, ChatPrompt) and prompt.continue_last_message:
        raise InvalidRequest("continue_last_message", "is not supported beside images")


async def add_images(
    prompt: Prompt, call: Call, images: Images | None, held: AsyncExitStack
) -> Prompt:
    """Returns the prompt with its call's images decoded, which `held` keeps; see `Images`."""
    if images is None or not call.images or not isinstance(prompt, ChatPrompt):
        return prompt
    decoded = await held.enter_async_context(images.provide(call.images))
    return msgspec.structs.replace(prompt, images=decoded)
