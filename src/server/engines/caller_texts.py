"""What of a conversation a caller has written, for engines that read all of a prompt as text."""

from __future__ import annotations

import json
from collections.abc import Iterator

from ..contract.errors import InvalidRequest
from ..contract.prompts import ChatMessage, ChatPrompt
from .answers.spelling import spell_tool
from .special_text import SpecialTexts


def check_texts(prompt: ChatPrompt, special: SpecialTexts) -> None:
    """Refuses control tokens in text of the caller, beside which an image cannot be.

    Raises:
        InvalidRequest: names the field.
    """
    for field, text in caller_texts(prompt).items():
        # Between ends of lines: a "<" that ends it, or a ">" that begins it, is none.
        if special.occur_in([f"\n{text}\n"]):
            raise InvalidRequest(
                field, "holds the name of a control token, which the engine takes beside no image"
            )


def caller_texts(prompt: ChatPrompt) -> dict[str, str]:
    """Returns by field every text that the template may print.

    JSON of the caller is spelt anew, without escapes, as templates print it.
    """
    texts = {
        "messages": "\n".join(
            text for message in prompt.messages for text in _texts_of_message(message)
        ),
        "template_arguments": _spell(prompt.template_arguments),
    }
    if prompt.tools:
        texts["tools"] = _spell([spell_tool(tool) for tool in prompt.tools])
    return texts


def _texts_of_message(message: ChatMessage) -> Iterator[str]:
    yield message.content
    for call in message.tool_calls:
        yield from (call.id, call.name, call.arguments, _spell(json.loads(call.arguments)))
    if message.tool_call_id:
        yield message.tool_call_id


def _spell(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
