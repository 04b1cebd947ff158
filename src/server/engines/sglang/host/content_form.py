"""Whether a chat template takes the content of a message as text or as a list of parts."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ....contract.prompts import ChatMessage
from ...answers.spelling import spell_calls

PROBE: Final = "lighthouse"


class ContentForm(enum.Enum):
    """How the content of a message is handed to the template."""

    TEXT = "text"
    PARTS = "parts"


def find_content_form(render: Callable[[Sequence[Mapping[str, Any]]], str]) -> ContentForm:
    """Tries which form the template takes, and prefers text.

    Templates of some vision models (LLaVA 1.6) look for the parts of a message: of a text they
    would find none, and render the conversation without a word of it.
    """
    for form in ContentForm:
        message = {"role": "user", "content": _spell(PROBE, form)}
        try:
            rendered = render([message])
        except (ValueError, TypeError):
            continue  # the template refuses a conversation of one message, or this form
        if PROBE in rendered:
            return form
    return ContentForm.TEXT


def spell_message(message: ChatMessage, form: ContentForm) -> dict[str, Any]:
    """Spells a message for the template."""
    content = _spell(message.content, form)
    return {"role": message.role.value, "content": content, **spell_calls(message)}


def _spell(text: str, form: ContentForm) -> str | list[dict[str, str]]:
    return text if form is ContentForm.TEXT else [{"type": "text", "text": text}]
