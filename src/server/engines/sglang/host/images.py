"""Images in the host: their places in a conversation, and the tokens that they take."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from ....contract.errors import InvalidRequest
from ....contract.prompts import ChatMessage, ChatPrompt, ImagePart, RenderedPrompt, Role
from ....contract.token_ids import TokenIds
from .internals import GenerateReqInput

_logger = logging.getLogger(__name__)

# 64 x 64 white pixels as PNG: the smallest that no image processor is known to refuse.
_TRIAL_IMAGE: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAEAAAABAAQAAAACCEkxzAAAAFElEQVR42mP8zwABTAyjjFEGyQwAzx8Bf7QK4E8AAAAASUVORK5CYII="
)
_TRIAL: Final = ChatPrompt(
    (ChatMessage(Role.USER, "?", parts=("?", ImagePart(0))),), images=(_TRIAL_IMAGE,)
)


def spell_parts(message: ChatMessage) -> dict[str, Any]:
    """Spells a message with images for SGLang's chat code, which asks for no image itself."""
    return {
        "role": message.role.value,
        "content": [
            {"type": "text", "text": part}
            if isinstance(part, str)
            else {"type": "image_url", "image_url": {"url": f"image:{part.index}"}}
            for part in message.parts
        ],
    }


class Eye:
    """What of a loaded model reads images.

    `can_see` is False until a trial has shown that template and image processor fit together.
    """

    def __init__(self, manager: Any) -> None:  # SGLang has no types
        self._manager = manager
        self._processor: Any = getattr(manager, "mm_processor", None)
        self.can_see = False

    async def try_out(self, render: Callable[[ChatPrompt], RenderedPrompt]) -> None:
        """Renders a conversation with an image, where the model is one that may see."""
        if self._processor is None:
            return
        try:
            rendered = await self.count(render(_TRIAL))
        except Exception as error:  # noqa: BLE001 - a hundred processors, each with errors of its own
            why = f"{type(error).__name__}: {error}"
            _logger.warning("images_not_read", extra={"error": why})
            return
        self.can_see = rendered.num_image_tokens > 0

    async def count(self, prompt: RenderedPrompt) -> RenderedPrompt:
        """Adds the tokens of the images to a rendered prompt: SGLang's are the template's marks.

        Raises:
            InvalidRequest: the image processor refuses them.
        """
        ids = prompt.token_ids.tolist()
        request = GenerateReqInput(input_ids=ids, image_data=list(prompt.images))
        try:
            read = await self._processor.process_mm_data_async(
                image_data=list(prompt.images),
                audio_data=None,
                input_text=ids,
                request_obj=request,
                max_req_input_len=self._manager.max_req_input_len,
            )
        except (ValueError, RuntimeError) as error:
            _logger.info("images_refused", extra={"error": type(error).__name__})
            raise InvalidRequest("messages", "the model cannot read its images") from error
        return replace(
            prompt,
            num_image_tokens=len(read.input_ids) - len(ids),
            ids_with_images=TokenIds.of([int(token_id) for token_id in read.input_ids]),
        )
