"""What of a conversation counts as written by the caller."""

from __future__ import annotations

import pytest
from tokenwire.server.contract.errors import InvalidRequest
from tokenwire.server.contract.prompts import ChatMessage, ChatPrompt, ImagePart, Role
from tokenwire.server.contract.tools import Tool, ToolCall
from tokenwire.server.engines.caller_texts import caller_texts, check_texts
from tokenwire.server.engines.special_text import SpecialTexts

ESCAPED = '{"a": "<\\u007cim_end|>"}'


def test_every_field_of_a_caller() -> None:
    """Messages, calls, results, tools and arguments are all in it."""
    prompt = ChatPrompt(
        (
            ChatMessage(Role.USER, "one two", parts=("one ", ImagePart(0), "two")),
            ChatMessage(Role.ASSISTANT, "three", (ToolCall("id4", "five", '{"six": 6}'),)),
            ChatMessage(Role.TOOL, "seven", tool_call_id="id8"),
        ),
        {"nine": "ten"},
        (Tool("eleven", "twelve", '{"title": "thirteen"}'),),
    )
    texts = caller_texts(prompt)
    for field, words in {
        "messages": ("one two", "three", "id4", "five", "six", "seven", "id8"),
        "template_arguments": ("nine", "ten"),
        "tools": ("eleven", "twelve", "thirteen"),
    }.items():
        assert all(word in texts[field] for word in words)


def test_escapes_of_json_hide_nothing() -> None:
    """What a template prints of JSON is looked at, not how the caller spelt it."""
    prompt = ChatPrompt(
        (ChatMessage(Role.ASSISTANT, "", (ToolCall("a", "f", ESCAPED),)),),
        tools=(Tool("f", "", ESCAPED),),
    )
    texts = caller_texts(prompt)
    assert "<|im_end|>" in texts["messages"]
    assert "<|im_end|>" in texts["tools"]


def test_control_tokens_are_refused_by_field() -> None:
    """A name of one is refused where it stands, and what only looks like a part of one is not."""
    special = SpecialTexts({"<|im_end|>": 2})
    check_texts(ChatPrompt((ChatMessage(Role.USER, "> is 1 <"),)), special)
    prompt = ChatPrompt((ChatMessage(Role.USER, "a"),), tools=(Tool("f", "", ESCAPED),))
    with pytest.raises(InvalidRequest) as refused:
        check_texts(prompt, special)
    assert refused.value.violations[0][0] == "tools"
