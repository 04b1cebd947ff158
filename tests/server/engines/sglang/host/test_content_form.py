"""Chat templates get messages in the form that they take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jinja2
import pytest
from tokenwire.server.contract.prompts import ChatMessage, Role
from tokenwire.server.engines.sglang.host.content_form import (
    ContentForm,
    find_content_form,
    spell_message,
)

TEXT_ONLY = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}{% endfor %}"
)
# As llava-hf/llava-v1.6-mistral-7b-hf has it.
PARTS_ONLY = (
    "{% for message in messages %}{% if message['role'] == 'user' %}[INST] "
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ content['text'] }}{% endfor %} [/INST]{% endif %}{% endfor %}"
)
# As Qwen2.5-VL has it.
BOTH = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}<|im_end|>"
    "{% else %}{% for content in message['content'] %}{{ content['text'] }}{% endfor %}"
    "{% endif %}{% endfor %}"
)


def renderer(template: str) -> Callable[[Sequence[Mapping[str, Any]]], str]:
    compiled = jinja2.Template(template)
    return lambda messages: compiled.render(messages=messages)


@pytest.mark.parametrize(
    ("template", "form"),
    [(TEXT_ONLY, ContentForm.TEXT), (PARTS_ONLY, ContentForm.PARTS), (BOTH, ContentForm.TEXT)],
)
def test_form_is_found(template: str, form: ContentForm) -> None:
    """A template that would leave the text out gets parts, every other gets text."""
    assert find_content_form(renderer(template)) is form


def test_refusing_template_gets_text() -> None:
    """A template that refuses the trial conversation is left as it is."""

    def refuse(messages: Sequence[Mapping[str, Any]]) -> str:
        raise ValueError(f"{len(messages)} messages are too few")

    assert find_content_form(refuse) is ContentForm.TEXT


def test_parts_hold_the_text() -> None:
    """The words of a message are the same in both forms."""
    message = ChatMessage(Role.USER, "hi")
    assert spell_message(message, ContentForm.TEXT) == {"role": "user", "content": "hi"}
    parts = spell_message(message, ContentForm.PARTS)["content"]
    assert parts == [{"type": "text", "text": "hi"}]
