"""Models are asked for tools and thinking only where they have them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tokenwire.server.contract.errors import InvalidRequest
from tokenwire.server.contract.prompts import ChatMessage, ChatPrompt, Role
from tokenwire.server.contract.tools import Tool, ToolCall, ToolChoice, ToolMode
from tokenwire.server.request.checks.tool_checks import check_hidden, check_tools, texts_of

from ..test_sampling import MODEL as INFO

HELLO = ChatMessage(Role.USER, "Hello")
CALL = ChatMessage(Role.ASSISTANT, "", (ToolCall("a", "f", '{"x": 1}'),))
RESULT = ChatMessage(Role.TOOL, "42", tool_call_id="a")
ABLE = replace(
    INFO,
    capabilities=replace(INFO.capabilities, tools=True, reasoning=True, reasoning_switch=True),
)


@pytest.mark.parametrize(
    ("prompt", "field", "capability"),
    [
        (ChatPrompt((HELLO,), tools=(Tool("f"),)), "tools", "`tools`"),
        (
            ChatPrompt((HELLO,), tool_choice=ToolChoice(ToolMode.NONE)),
            "tool_choice",
            "`tools`",
        ),
        (ChatPrompt((HELLO, CALL)), "messages[1].tool_calls", "`tools`"),
        (ChatPrompt((HELLO, RESULT)), "messages[1].tool_call_id", "`tools`"),
        (ChatPrompt((HELLO,), thinks=True), "reasoning.enabled", "`reasoning_switch`"),
    ],
)
def test_the_field_and_the_capability_are_named(
    prompt: ChatPrompt, field: str, capability: str
) -> None:
    """A model without tools refuses them instead of dropping them; another one takes them."""
    with pytest.raises(InvalidRequest) as refused:
        check_tools(prompt, INFO)
    [(path, description)] = refused.value.violations
    assert path == field
    assert capability in description
    check_tools(prompt, ABLE)


def test_thinking_is_turned_off_where_there_is_none() -> None:
    """That asks for nothing; a model that always thinks cannot be stopped."""
    prompt = ChatPrompt((HELLO,), thinks=False)
    check_tools(prompt, INFO)
    always = replace(INFO, capabilities=replace(INFO.capabilities, reasoning=True))
    with pytest.raises(InvalidRequest, match=r"reasoning\.enabled.*`reasoning_switch`"):
        check_tools(prompt, always)


def test_hidden_thinking_needs_a_parser() -> None:
    """Thinking that is not told from text cannot be left out."""
    with pytest.raises(InvalidRequest, match=r"reasoning\.hidden.*`reasoning`"):
        check_hidden(True, INFO)
    check_hidden(False, INFO)
    check_hidden(True, ABLE)


def test_every_text_counts() -> None:
    """What a template may print is part of the prompt's size."""
    prompt = ChatPrompt((HELLO, CALL, RESULT), tools=(Tool("t", "d", '{"type": "object"}'),))
    assert texts_of(prompt) == [
        *("Hello", "", "42"),
        *("f", '{"x": 1}'),
        *("t", "d", '{"type": "object"}'),
    ]
