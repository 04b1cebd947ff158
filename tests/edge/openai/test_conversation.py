"""Messages and tools from OpenAI's JSON."""

from __future__ import annotations

from typing import Any

import pytest
from tokenwire.edge.errors import EdgeError
from tokenwire.edge.fields import Fields
from tokenwire.edge.openai.conversation import (
    decode_messages,
    decode_tool_choice,
    decode_tools,
    keep_allowed,
)
from tokenwire.generated.tokenwire.v1.chat_pb2 import (
    ROLE_ASSISTANT,
    ROLE_SYSTEM,
    ROLE_TOOL,
    ROLE_USER,
    ContentPart,
    Image,
    Message,
    Tool,
    ToolCall,
    ToolChoice,
)

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


def decode(*messages: Any) -> list[Message]:
    return decode_messages(Fields({"messages": list(messages)}))[0]


def allowed(*names: str, mode: str | None = "auto") -> dict[str, Any]:
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


def text(value: str) -> list[ContentPart]:
    return [ContentPart(text=value)]


@pytest.mark.parametrize(
    ("message", "decoded"),
    [
        ({"role": "system", "content": "x"}, Message(role=ROLE_SYSTEM, content=text("x"))),
        ({"role": "developer", "content": "x"}, Message(role=ROLE_SYSTEM, content=text("x"))),
        ({"role": "user", "content": ""}, Message(role=ROLE_USER, content=text(""))),
        (
            {"role": "user", "content": [{"type": "text", "text": "x"}], "name": "eve"},
            Message(role=ROLE_USER, content=text("x")),
        ),
        (
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "data:x", "detail": "low"}},
                    {"type": "image_url", "image_url": "https://x"},
                ],
            },
            Message(
                role=ROLE_USER,
                content=[
                    ContentPart(image=Image(url="data:x")),
                    ContentPart(image=Image(url="https://x")),
                ],
            ),
        ),
        ({"role": "assistant"}, Message(role=ROLE_ASSISTANT)),
        (
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
            Message(role=ROLE_ASSISTANT, content=text("no")),
        ),
        (
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [CALL],
                "function_call": None,
                "refusal": None,
                "audio": None,
                "annotations": [],
                "reasoning_content": "I think",
                "provider_specific_fields": {"x": 1},
            },
            Message(
                role=ROLE_ASSISTANT, tool_calls=[ToolCall(id="c1", name="f", arguments='{"a": 1}')]
            ),
        ),
        (
            {"role": "assistant", "content": "x", "tool_calls": None},
            Message(role=ROLE_ASSISTANT, content=text("x")),
        ),
        (
            {"role": "tool", "tool_call_id": "c1", "content": "7", "name": "f"},
            Message(role=ROLE_TOOL, tool_call_id="c1", content=text("7")),
        ),
    ],
)
def test_messages_are_read(message: dict[str, Any], decoded: Message) -> None:
    """Also as other servers answered them, and as clients send them back."""
    assert decode(message) == [decoded]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [({"a": 1}, '{"a":1}'), ("", "{}"), (None, "{}"), ("{}", "{}"), ('{"a"', '{"a"')],
)
def test_arguments_are_text(arguments: object, text: str) -> None:
    """An object by mistake and a call without arguments pass; broken text is for the front."""
    call = {"id": "c1", "function": {"name": "f", "arguments": arguments}}
    (message,) = decode({"role": "assistant", "tool_calls": [call]})
    assert message.tool_calls[0].arguments == text


def test_contents_that_are_strings_are_known() -> None:
    """So that a mistake in one is told by its own path."""
    user = {"role": "user", "content": "x"}
    parts = {"role": "user", "content": [{"type": "text", "text": "x"}]}
    assert decode_messages(Fields({"messages": [user, parts, user]}))[1] == [0, 2]


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({"content": "x"}, "messages[0].role: is required"),
        ({"role": "function", "content": "x"}, "messages[0].role: function is not supported here"),
        ({"role": "bot", "content": "x"}, "messages[0].role: must be one of system, developer,"),
        ({"role": "user"}, "messages[0].content: is required and must be a string or an array"),
        ({"role": "tool", "tool_call_id": "c", "content": None}, "messages[0].content: is requi"),
        ({"role": "user", "content": 7}, "messages[0].content: must be a string or an array of"),
        ({"role": "user", "content": []}, "messages[0].content: must have at least 1 item, got 0"),
        ({"role": "assistant", "content": []}, "messages[0].content: must have at least 1 item"),
        ({"role": "user", "content": ["x"]}, "messages[0].content[0]: must be an object, got a"),
        ({"role": "user", "content": [{}]}, "messages[0].content[0].type: is required"),
        (
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]},
            "messages[0].content[0].type: must be one of text, image_url, refusal, got 'input_au",
        ),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {}}]},
            "messages[0].content[0].image_url.url: is required",
        ),
        (
            {"role": "user", "content": [{"type": "text", "text": "x"}] * 257},
            "messages[0].content: must have at most 256 items, got 257",
        ),
        ({"role": "tool", "content": "x"}, "messages[0].tool_call_id: is required"),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]},
            "messages[0].tool_calls[0].id: is required",
        ),
        (
            {"role": "assistant", "tool_calls": [{**CALL, "function": {"arguments": "{}"}}]},
            "messages[0].tool_calls[0].function.name: is required",
        ),
        (
            {"role": "assistant", "function_call": {"name": "f"}},
            "messages[0].function_call: is not supported here; send tool_calls",
        ),
        ({"role": "user", "content": "x", "images": ["y"]}, "messages[0].images: is not supported"),
    ],
)
def test_what_is_no_message_is_named(message: dict[str, Any], error: str) -> None:
    """By the caller's own path."""
    with pytest.raises(EdgeError) as caught:
        decode(message)
    assert caught.value.message.startswith(error)


def test_tools_are_read() -> None:
    """A schema keeps its order; without one the arguments are any object."""
    schema = {"type": "object", "properties": {"b": {}, "a": {}}}
    tools = [
        {
            "type": "function",
            "function": {"name": "f", "description": "d", "parameters": schema, "strict": True},
        },
        {"function": {"name": "g", "parameters": None}},
    ]
    assert decode_tools(Fields({"tools": tools})) == [
        Tool(
            name="f",
            description="d",
            parameters_schema='{"type":"object","properties":{"b":{},"a":{}}}',
        ),
        Tool(name="g"),
    ]
    assert decode_tools(Fields({"tools": None})) == decode_tools(Fields({"tools": []})) == []


@pytest.mark.parametrize(
    ("tools", "error"),
    [
        ([{"type": "custom", "custom": {}}], "tools[0].type: must be one of function, got 'cust"),
        ([{"type": "function"}], "tools[0].function.name: is required"),
        ([{"name": "f"}], "tools[0].function.name: is required"),
        ({}, "tools: must be an array of objects, got an object"),
        ([{"function": {"name": "f", "parameters": "{}"}}], "tools[0].function.parameters: must"),
    ],
)
def test_what_is_no_tool_is_named(tools: object, error: str) -> None:
    """By the caller's own path."""
    with pytest.raises(EdgeError) as caught:
        decode_tools(Fields({"tools": tools}))
    assert caught.value.message.startswith(error)


@pytest.mark.parametrize(
    ("value", "choice"),
    [
        (None, None),
        ("auto", ToolChoice(mode=ToolChoice.MODE_AUTO)),
        ("none", ToolChoice(mode=ToolChoice.MODE_NONE)),
        ("required", ToolChoice(mode=ToolChoice.MODE_REQUIRED)),
        ({"type": "function", "function": {"name": "f"}}, ToolChoice(name="f")),
        (allowed("f", mode="required"), ToolChoice(mode=ToolChoice.MODE_REQUIRED)),
        (allowed("f", mode="auto"), ToolChoice(mode=ToolChoice.MODE_AUTO)),
        (allowed("f", mode=None), ToolChoice(mode=ToolChoice.MODE_AUTO)),
    ],
)
def test_tool_choices_are_read(value: object, choice: ToolChoice | None) -> None:
    """The three words, one function, and some of the functions."""
    assert decode_tool_choice(Fields({"tool_choice": value}), has_tools=True) == choice


@pytest.mark.parametrize("value", ["auto", "none", None])
def test_a_choice_without_tools_asks_for_nothing(value: object) -> None:
    """Many clients always send one."""
    assert decode_tool_choice(Fields({"tool_choice": value}), has_tools=False) is None


@pytest.mark.parametrize(
    ("value", "has_tools", "error"),
    [
        ("required", False, "tool_choice: demands a call, and there are no tools"),
        ("any", True, "tool_choice: must be one of none, auto, required, got 'any'"),
        (7, True, "tool_choice: must be one of none, auto, required, or an object that names"),
        ({"type": "custom"}, True, "tool_choice.type: must be one of function, allowed_tools, got"),
        (allowed(mode="none"), True, "tool_choice.allowed_tools.mode: must be one of auto, requir"),
        ({"function": {"name": "f"}}, True, "tool_choice.type: is required"),
        ({"type": "function"}, True, "tool_choice.function.name: is required"),
    ],
)
def test_what_is_no_choice_is_named(value: object, has_tools: bool, error: str) -> None:
    """With what it may be."""
    with pytest.raises(EdgeError) as caught:
        decode_tool_choice(Fields({"tool_choice": value}), has_tools=has_tools)
    assert caught.value.message.startswith(error)


def test_the_model_sees_what_it_may_call() -> None:
    """The tools that are allowed, as they stand; those that moved up keep the caller's name."""
    tools = [Tool(name=name) for name in "fgh"]
    given: dict[str, str] = {}
    for value in (None, "auto", {"type": "function", "function": {"name": "f"}}):
        assert keep_allowed(Fields({"tool_choice": value}), tools, given) == tools
    kept = keep_allowed(Fields({"tool_choice": allowed("h", "f")}), tools, given)
    assert [tool.name for tool in kept] == ["f", "h"]
    assert given == {"tools[1]": "tools[2]"}


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (allowed(), ".tools: must have at least 1 item, got 0"),
        (allowed("f", "x"), ".tools[1].function.name: must be the name of one of the tools"),
        ({"type": "allowed_tools"}, ".tools: is required"),
        (
            {"type": "allowed_tools", "allowed_tools": {"tools": [{}]}},
            ".tools[0].function.name: is",
        ),
        (
            {"type": "allowed_tools", "allowed_tools": {"tools": [{"type": "mcp"}]}},
            ".tools[0].type: must be one of function",
        ),
    ],
)
def test_what_cannot_be_allowed_is_named(value: object, error: str) -> None:
    """Tools that are not there, and no tool at all."""
    with pytest.raises(EdgeError) as caught:
        keep_allowed(Fields({"tool_choice": value}), [Tool(name="f")], {})
    assert caught.value.message.startswith(f"tool_choice.allowed_tools{error}")


def test_deep_schemas_are_refused() -> None:
    """What cannot be written again is a mistake of the caller's, not of ours."""
    deep: object = 1
    for _ in range(300):
        deep = {"a": deep}
    tools = [{"type": "function", "function": {"name": "f", "parameters": deep}}]
    with pytest.raises(EdgeError, match=r"^tools\[0\]\.function\.parameters: must be nested"):
        decode_tools(Fields({"tools": tools}))
    call = {"id": "c", "function": {"name": "f", "arguments": deep}}
    with pytest.raises(EdgeError, match=r"tool_calls\[0\]\.function\.arguments: must be nested"):
        decode({"role": "assistant", "tool_calls": [call]})
