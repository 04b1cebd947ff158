"""Conversations with images, as llama.cpp's endpoints take them.

An image stands in the text of a prompt as a mark that nobody else can know: it is drawn anew for
each start of the server.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from ....contract.errors import InvalidRequest
from ....contract.prompts import ChatMessage, ChatPrompt, RenderedPrompt
from ....contract.token_ids import TokenIds
from ..client import LlamaCppClient, Refused, ids_to_json

# One white pixel: where only the template is applied, the image itself does not matter.
_ANY_IMAGE: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4//8/AAX+Av4N70a4AAAAAElFTkSuQmCC"
)


def draw_image_mark() -> str:
    """Returns a mark that no text holds."""
    return f"<image-{secrets.token_hex(16)}>"


def spell_content(message: ChatMessage, images: Sequence[str] = ()) -> str | list[dict[str, Any]]:
    """Spells the content of a message: text, or parts where it has an image.

    `images` are the images of the prompt in base64; without them any image stands for each.
    """
    if not message.parts:
        return message.content
    return [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else _image(images[part.index] if images else _ANY_IMAGE)
        for part in message.parts
    ]


async def spell_prompt(prompt: RenderedPrompt) -> object:
    """Spells a rendered prompt for `/completion`: its ids, or its marked text with its images."""
    if not prompt.images:
        return await ids_to_json(prompt.token_ids)

    def spell() -> orjson.Fragment:
        data = [base64.b64encode(image).decode() for image in prompt.images]
        body = {"prompt_string": prompt.marked_text, "multimodal_data": data}
        return orjson.Fragment(orjson.dumps(body))

    return await asyncio.to_thread(spell)


@dataclass(frozen=True, slots=True)
class ImagePrompts:
    """Renders conversations with images on one loaded model.

    Beside an image llama.cpp reads the prompt as text, in which every control token's name is that
    token: `check_texts` comes first.
    """

    client: LlamaCppClient
    mark: str

    async def render(
        self,
        text: str,
        ending: str,
        messages: Sequence[ChatMessage],
        prompt: ChatPrompt,
        body: Mapping[str, Any],
    ) -> RenderedPrompt:
        """Counts the tokens of `text`, and of the `ending` that the prompt gets behind it.

        `text` is what the template made of `body`, which holds `messages` as they are spelt.

        Raises:
            InvalidRequest: the template leaves an image out, or the model cannot read one.
        """
        pieces = text.split(self.mark)
        if len(pieces) != len(prompt.images) + 1:
            raise InvalidRequest("messages", "the model's chat template leaves out an image")
        ids: list[int] = []
        for number, piece in enumerate(pieces):
            ids += await self._tokenize(piece, add_special=not number, parse_special=True)
        num_tokens = await self._count(messages, prompt, body)
        num_image_tokens = max(0, num_tokens - len(ids))
        ids += await self._tokenize(ending, add_special=False, parse_special=True)
        return RenderedPrompt(
            TokenIds.of(ids),
            images=prompt.images,
            num_image_tokens=num_image_tokens,
            marked_text=text + ending,
        )

    async def _tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        body = {"content": text, "add_special": add_special, "parse_special": parse_special}
        tokens: list[int] = (await self.client.post("/tokenize", body))["tokens"]
        return tokens

    async def _count(
        self, messages: Sequence[ChatMessage], prompt: ChatPrompt, body: Mapping[str, Any]
    ) -> int:
        def spell() -> orjson.Fragment:
            images = [base64.b64encode(image).decode() for image in prompt.images]
            spelled = [
                {**spelled, "content": spell_content(message, images)}
                for message, spelled in zip(messages, body["messages"], strict=True)
            ]
            return orjson.Fragment(orjson.dumps(spelled))

        body = {**body, "messages": await asyncio.to_thread(spell)}
        try:
            answer = await self.client.post("/v1/chat/completions/input_tokens", body)
        except Refused as error:
            raise InvalidRequest("messages", "the model cannot read one of the images") from error
        num_tokens: int = answer["input_tokens"]
        return num_tokens


def _image(data: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
