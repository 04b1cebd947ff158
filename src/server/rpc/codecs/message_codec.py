"""Conversations from protos to the domain: messages, calls of tools and their results, tools."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, cast

import orjson

from ....generated.tokenwire.v1 import chat_pb2, inference_pb2
from ...contract.errors import InvalidRequest
from ...contract.prompts import ChatMessage, ChatPrompt, Role
from ...contract.tools import Tool, ToolCall, ToolChoice, ToolMode
from ...media.image_source import ImageSource
from .image_codec import decode_parts

_ROLES: Final = {
    chat_pb2.ROLE_SYSTEM: Role.SYSTEM,
    chat_pb2.ROLE_USER: Role.USER,
    chat_pb2.ROLE_ASSISTANT: Role.ASSISTANT,
    chat_pb2.ROLE_TOOL: Role.TOOL,
}
_MODES: Final = {
    chat_pb2.ToolChoice.MODE_UNSPECIFIED: ToolMode.AUTO,
    chat_pb2.ToolChoice.MODE_AUTO: ToolMode.AUTO,
    chat_pb2.ToolChoice.MODE_NONE: ToolMode.NONE,
    chat_pb2.ToolChoice.MODE_REQUIRED: ToolMode.REQUIRED,
}


def decode_messages(
    messages: Sequence[chat_pb2.Message], images: list[ImageSource]
) -> tuple[ChatMessage, ...]:
    """Turns valid messages into a conversation in which calls and results belong together.

    Adds what images they have to `images`.

    Raises:
        InvalidRequest: a call whose id or arguments cannot be used, or one of a role that makes no
            calls; a result of no call, of an unknown one, or of one that has its result; an image
            that is empty, or in a message that is not of the user.
    """
    conversation: list[ChatMessage] = []
    open_ids: set[str] = set()  # of the last assistant's message, without a result so far
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        role = _ROLES[message.role]
        if role is Role.TOOL:
            _take_result(f"{path}.tool_call_id", message.tool_call_id, open_ids)
        elif message.tool_call_id:
            raise InvalidRequest(f"{path}.tool_call_id", "belongs to messages of ROLE_TOOL alone")
        if message.tool_calls and role is not Role.ASSISTANT:
            raise InvalidRequest(f"{path}.tool_calls", "belong to messages of ROLE_ASSISTANT alone")
        calls = _decode_calls(f"{path}.tool_calls", message.tool_calls)
        if role is Role.ASSISTANT:
            open_ids = {call.id for call in calls}
        text = "".join(part.text for part in message.content)
        parts = decode_parts(message, path, images)
        conversation.append(ChatMessage(role, text, calls, message.tool_call_id, parts))
    return tuple(conversation)


def decode_tools(tools: Iterable[chat_pb2.Tool]) -> tuple[Tool, ...]:
    """Turns valid tools into those of a conversation.

    Raises:
        InvalidRequest: a name that comes twice, or a schema that is no JSON object, or is one of
            something other than objects.
    """
    decoded: dict[str, Tool] = {}
    for index, tool in enumerate(tools):
        path = f"tools[{index}]"
        if tool.name in decoded:
            raise InvalidRequest(f"{path}.name", "is the name of an earlier tool, too")
        schema = tool.parameters_schema or "{}"
        kind = _read_object(f"{path}.parameters_schema", schema).get("type", "object")
        if kind != "object":
            raise InvalidRequest(f"{path}.parameters_schema", 'must have the type "object"')
        decoded[tool.name] = Tool(tool.name, tool.description, schema)
    return tuple(decoded.values())


def decode_tool_choice(request: inference_pb2.ChatRequest) -> ToolChoice:
    """Reads which of the tools of a valid request the model may or must call.

    Raises:
        InvalidRequest: a call is asked for where there is no such tool.
    """
    choice = request.tool_choice
    if choice.WhichOneof("kind") == "name":
        if choice.name not in {tool.name for tool in request.tools}:
            raise InvalidRequest("tool_choice.name", "must be the name of one of the tools")
        return ToolChoice(ToolMode.REQUIRED, choice.name)
    mode = _MODES[choice.mode]
    if mode is ToolMode.REQUIRED and not request.tools:
        raise InvalidRequest("tool_choice.mode", "MODE_REQUIRED needs at least one tool")
    return ToolChoice(mode)


def check_continued(prompt: ChatPrompt) -> None:
    """Checks that a last message that the answer goes on with can be gone on with.

    Raises:
        InvalidRequest: it asks for calls, or the answer must be calls and nothing before them.
    """
    if not prompt.continue_last_message:
        return
    if prompt.messages[-1].tool_calls:
        raise InvalidRequest("continue_last_message", "needs a last message without tool calls")
    if prompt.tool_choice.mode is ToolMode.REQUIRED:
        raise InvalidRequest(
            "continue_last_message", "cannot be combined with a tool_choice that demands a call"
        )


def _take_result(field: str, call_id: str, open_ids: set[str]) -> None:
    if not call_id:
        raise InvalidRequest(field, "must be set for ROLE_TOOL: the call that it answers")
    if call_id not in open_ids:
        raise InvalidRequest(
            field, "must be a call of the last assistant's message that has no result yet"
        )
    open_ids.remove(call_id)


def _decode_calls(field: str, calls: Iterable[chat_pb2.ToolCall]) -> tuple[ToolCall, ...]:
    decoded: dict[str, ToolCall] = {}
    for index, call in enumerate(calls):
        path = f"{field}[{index}]"
        if call.id in decoded:
            raise InvalidRequest(f"{path}.id", "is the id of an earlier call, too")
        _read_object(f"{path}.arguments", call.arguments)
        decoded[call.id] = ToolCall(call.id, call.name, call.arguments)
    return tuple(decoded.values())


def _read_object(field: str, text: str) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(field, f"must be JSON text: {error}") from error
    if not isinstance(value, dict):
        raise InvalidRequest(field, "must be JSON text of an object")
    return cast("dict[str, Any]", value)
