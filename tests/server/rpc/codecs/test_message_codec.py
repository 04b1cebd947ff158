"""Conversations with tools are decoded only where calls and results belong together."""

from __future__ import annotations

from typing import Any

import pytest
from tokenwire.generated.tokenwire.v1 import chat_pb2, inference_pb2
from tokenwire.server.contract.errors import InvalidRequest
from tokenwire.server.contract.prompts import ChatMessage, Role
from tokenwire.server.contract.tools import Tool, ToolCall, ToolChoice, ToolMode
from tokenwire.server.rpc.codecs.message_codec import (
    decode_messages,
    decode_tool_choice,
    decode_tools,
)

Message, Choice = chat_pb2.Message, chat_pb2.ToolChoice


def text(role: chat_pb2.Role, said: str, **more: Any) -> chat_pb2.Message:
    return Message(role=role, content=[chat_pb2.ContentPart(text=said)], **more)


def calls(*ids: str, arguments: str = "{}") -> chat_pb2.Message:
    return Message(
        role=chat_pb2.ROLE_ASSISTANT,
        tool_calls=[chat_pb2.ToolCall(id=each, name="f", arguments=arguments) for each in ids],
    )


def result(call_id: str) -> chat_pb2.Message:
    return text(chat_pb2.ROLE_TOOL, "42", tool_call_id=call_id)


def test_calls_and_results() -> None:
    """Results may come in any order, and an id may come again in a later turn."""
    decoded = decode_messages(
        [calls("a", "b"), result("b"), result("a"), calls("a"), result("a")], []
    )
    call_a, call_b = ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}")
    assert decoded == (
        ChatMessage(Role.ASSISTANT, "", (call_a, call_b)),
        ChatMessage(Role.TOOL, "42", (), "b"),
        ChatMessage(Role.TOOL, "42", (), "a"),
        ChatMessage(Role.ASSISTANT, "", (call_a,)),
        ChatMessage(Role.TOOL, "42", (), "a"),
    )


@pytest.mark.parametrize(
    ("messages", "field", "why"),
    [
        ([calls("a"), result("x")], "messages[1].tool_call_id", "last assistant's message"),
        ([calls("a"), result("a"), result("a")], "messages[2].tool_call_id", "no result yet"),
        ([calls("a"), calls("b"), result("a")], "messages[2].tool_call_id", "last assistant's"),
        ([text(chat_pb2.ROLE_USER, "x"), result("a")], "messages[1].tool_call_id", "must be a"),
        ([calls("a"), result("")], "messages[1].tool_call_id", "must be set"),
        (
            [text(chat_pb2.ROLE_USER, "x", tool_call_id="a")],
            "messages[0].tool_call_id",
            "ROLE_TOOL alone",
        ),
        (
            [text(chat_pb2.ROLE_USER, "x", tool_calls=[chat_pb2.ToolCall(id="a", name="f")])],
            "messages[0].tool_calls",
            "ROLE_ASSISTANT alone",
        ),
        ([calls("a", "a")], "messages[0].tool_calls[1].id", "earlier call"),
        ([calls("a", arguments="")], "messages[0].tool_calls[0].arguments", "JSON"),
        ([calls("a", arguments="{'x': 1}")], "messages[0].tool_calls[0].arguments", "JSON"),
        ([calls("a", arguments='{"x": NaN}')], "messages[0].tool_calls[0].arguments", "JSON"),
        ([calls("a", arguments="[]")], "messages[0].tool_calls[0].arguments", "an object"),
        ([calls("a", arguments="[" * 9999)], "messages[0].tool_calls[0].arguments", "JSON"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    messages: list[chat_pb2.Message], field: str, why: str
) -> None:
    """An id without a call, a second result, arguments that are no object: each names its place."""
    with pytest.raises(InvalidRequest) as refused:
        decode_messages(messages, [])
    [(path, description)] = refused.value.violations
    assert path == field
    assert why in description


def test_tools() -> None:
    """A tool without a schema takes any object."""
    tools = [
        chat_pb2.Tool(name="a"),
        chat_pb2.Tool(name="b", description="B", parameters_schema='{"type": "object"}'),
    ]
    assert decode_tools(tools) == (Tool("a"), Tool("b", "B", '{"type": "object"}'))


@pytest.mark.parametrize(
    ("tools", "field"),
    [
        ([chat_pb2.Tool(name="a"), chat_pb2.Tool(name="a")], "tools[1].name"),
        ([chat_pb2.Tool(name="a", parameters_schema="{")], "tools[0].parameters_schema"),
        ([chat_pb2.Tool(name="a", parameters_schema="true")], "tools[0].parameters_schema"),
        (
            [chat_pb2.Tool(name="a", parameters_schema='{"type": "string"}')],
            "tools[0].parameters_schema",
        ),
    ],
)
def test_tools_that_cannot_be_used_are_refused(tools: list[chat_pb2.Tool], field: str) -> None:
    """A second tool of a name, and a schema of no object."""
    with pytest.raises(InvalidRequest) as refused:
        decode_tools(tools)
    assert refused.value.violations[0][0] == field


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, ToolChoice()),
        (Choice(mode=Choice.MODE_UNSPECIFIED), ToolChoice()),
        (Choice(mode=Choice.MODE_NONE), ToolChoice(ToolMode.NONE)),
        (Choice(mode=Choice.MODE_REQUIRED), ToolChoice(ToolMode.REQUIRED)),
        (Choice(name="a"), ToolChoice(ToolMode.REQUIRED, "a")),
    ],
)
def test_tool_choice(choice: chat_pb2.ToolChoice | None, expected: ToolChoice) -> None:
    """What is not said is left to the model."""
    request = inference_pb2.ChatRequest(tools=[chat_pb2.Tool(name="a")], tool_choice=choice)
    assert decode_tool_choice(request) == expected


@pytest.mark.parametrize(
    ("choice", "field"),
    [
        (Choice(mode=Choice.MODE_REQUIRED), "tool_choice.mode"),
        (Choice(name="a"), "tool_choice.name"),
    ],
)
def test_a_call_needs_its_tool(choice: chat_pb2.ToolChoice, field: str) -> None:
    """A call cannot be demanded of no tool."""
    with pytest.raises(InvalidRequest) as refused:
        decode_tool_choice(inference_pb2.ChatRequest(tool_choice=choice))
    assert refused.value.violations[0][0] == field
