"""Messages and tools from OpenAI's JSON."""

from __future__ import annotations

from typing import cast

from ...generated.tokenwire.v1 import chat_pb2, inference_pb2
from ...item_limits import max_items_of
from ..body import json_type
from ..errors import invalid
from ..fields import Fields, json_text

_ROLES = {
    "system": chat_pb2.ROLE_SYSTEM,
    "developer": chat_pb2.ROLE_SYSTEM,
    "user": chat_pb2.ROLE_USER,
    "assistant": chat_pb2.ROLE_ASSISTANT,
    "tool": chat_pb2.ROLE_TOOL,
}
_CHAT = inference_pb2.ChatRequest.DESCRIPTOR.fields_by_name
_MESSAGE = chat_pb2.Message.DESCRIPTOR.fields_by_name
_MAX_MESSAGES = max_items_of(_CHAT["messages"])
_MAX_TOOLS = max_items_of(_CHAT["tools"])
_MAX_PARTS = max_items_of(_MESSAGE["content"])
_MAX_CALLS = max_items_of(_MESSAGE["tool_calls"])
# Of messages: what old clients and other servers' have, that would change the answer.
_REFUSED_OF_A_MESSAGE = {
    "function_call": "send tool_calls",
    "audio": "send text",
    "images": "send image_url parts in content",
}
# Of `tool_choice` where it is an object.
_ALLOWED = "allowed_tools"
_CHOICES = ("function", _ALLOWED)
_MODES = {
    "none": chat_pb2.ToolChoice.MODE_NONE,
    "auto": chat_pb2.ToolChoice.MODE_AUTO,
    "required": chat_pb2.ToolChoice.MODE_REQUIRED,
}


def decode_messages(fields: Fields) -> tuple[list[chat_pb2.Message], list[int]]:
    """Reads the conversation; returns with it the indices of messages whose content is a string.

    Answers are sent back as they came, from whichever server: what else a message has is ignored.

    Raises:
        EdgeError: a field is missing, of the wrong type, or of a kind that is not here.
    """
    messages: list[chat_pb2.Message] = []
    strings: list[int] = []
    for index, message in enumerate(fields.objects("messages", _MAX_MESSAGES)):
        messages.append(_decode_message(message))
        if isinstance(message.get("content"), str):
            strings.append(index)
    return messages, strings


def decode_tools(fields: Fields) -> list[chat_pb2.Tool]:
    """Reads the functions that the model may call.

    Raises:
        EdgeError: a field is missing, of the wrong type, or a tool is no function.
    """
    tools: list[chat_pb2.Tool] = []
    for tool in fields.optional_objects("tools", _MAX_TOOLS):
        tool.optional_choice("type", ("function",))
        function = tool.inner("function")
        parameters = function.optional_object("parameters")
        path = function.path_of("parameters")
        tools.append(
            chat_pb2.Tool(
                name=function.string("name"),
                description=function.optional_string("description") or "",
                parameters_schema=json_text(parameters, path) if parameters else "",
            )
        )
    return tools


def decode_tool_choice(fields: Fields, *, has_tools: bool) -> chat_pb2.ToolChoice | None:
    """Reads which tools may or must be called, None where nothing is said about it.

    Raises:
        EdgeError: of the wrong type, or it demands a call where there are no tools.
    """
    value = fields.get("tool_choice")
    if value is None or value == "":
        return None
    if isinstance(value, str):
        mode = fields.optional_choice("tool_choice", _MODES)
        choice = chat_pb2.ToolChoice(mode=_MODES[mode or "auto"])
        is_demand = mode == "required"
    elif isinstance(value, dict):
        named = fields.inner("tool_choice")
        kind = named.optional_choice("type", _CHOICES)
        if kind is None:
            raise invalid(
                named.path_of("type"), f"is required and must be one of {', '.join(_CHOICES)}"
            )
        if kind == _ALLOWED:
            mode = named.inner(_ALLOWED).optional_choice("mode", ("auto", "required"))
            return chat_pb2.ToolChoice(mode=_MODES[mode or "auto"])
        choice = chat_pb2.ToolChoice(name=named.inner("function").string("name"))
        is_demand = True
    else:
        wanted = f"one of {', '.join(_MODES)}, or an object that names a function"
        raise invalid("tool_choice", f"must be {wanted}, got {json_type(value)}")
    if has_tools:
        return choice
    if is_demand:
        raise invalid("tool_choice", "demands a call, and there are no tools")
    return None


def keep_allowed(
    fields: Fields, tools: list[chat_pb2.Tool], given: dict[str, str]
) -> list[chat_pb2.Tool]:
    """Returns the tools that `tool_choice` allows, all where it names none as allowed.

    The model sees these alone. Puts into `given` what the caller calls those that moved up.

    Raises:
        EdgeError: a field is missing, of the wrong type, or the name of no tool.
    """
    value = fields.get("tool_choice")
    if not isinstance(value, dict) or fields.inner("tool_choice").get("type") != _ALLOWED:
        return tools
    choice = fields.inner("tool_choice").inner(_ALLOWED)
    names = {tool.name for tool in tools}
    allowed: set[str] = set()
    for item in choice.objects("tools", _MAX_TOOLS):
        item.optional_choice("type", ("function",))
        function = item.inner("function")
        name = function.string("name")
        if name not in names:
            raise invalid(function.path_of("name"), "must be the name of one of the tools")
        allowed.add(name)
    if not allowed:
        raise invalid(choice.path_of("tools"), "must have at least 1 item, got 0")
    kept = [index for index, tool in enumerate(tools) if tool.name in allowed]
    for place, index in enumerate(kept):
        if place != index:
            given[f"tools[{place}]"] = f"tools[{index}]"
    return [tools[index] for index in kept]


def _decode_message(fields: Fields) -> chat_pb2.Message:
    for name, advice in _REFUSED_OF_A_MESSAGE.items():
        if fields.get(name) not in (None, "", [], {}):
            raise invalid(fields.path_of(name), f"is not supported here; {advice}")
    name = fields.string("role")
    if name == "function":
        raise invalid(
            fields.path_of("role"), "function is not supported here; send role tool, tool_call_id"
        )
    role = _ROLES.get(name)
    if role is None:
        known = ", ".join(_ROLES)
        raise invalid(fields.path_of("role"), f"must be one of {known}, got '{name[:100]}'")
    message = chat_pb2.Message(
        role=role,
        content=_decode_content(fields, is_optional=role == chat_pb2.ROLE_ASSISTANT),
        tool_calls=[
            _decode_call(call) for call in fields.optional_objects("tool_calls", _MAX_CALLS)
        ],
    )
    if role == chat_pb2.ROLE_TOOL:
        message.tool_call_id = fields.string("tool_call_id")
    else:
        message.tool_call_id = fields.optional_string("tool_call_id") or ""
    return message


def _decode_content(fields: Fields, *, is_optional: bool) -> list[chat_pb2.ContentPart]:
    content = fields.get("content")
    if isinstance(content, str):
        return [chat_pb2.ContentPart(text=content)]
    path = fields.path_of("content")
    if isinstance(content, list) and not content:  # OpenAI refuses it, too, of every role
        raise invalid(path, "must have at least 1 item, got 0")
    if isinstance(content, list):
        return [_decode_part(part) for part in fields.objects("content", _MAX_PARTS)]
    if content is None and is_optional:
        return []
    if content is None:
        raise invalid(path, "is required and must be a string or an array of parts")
    raise invalid(path, f"must be a string or an array of parts, got {json_type(content)}")


def _decode_part(part: Fields) -> chat_pb2.ContentPart:
    kind = part.string("type")
    if kind == "text":
        return chat_pb2.ContentPart(text=part.string("text"))
    if kind == "refusal":  # of an assistant's message that is sent back
        return chat_pb2.ContentPart(text=part.string("refusal"))
    if kind == "image_url":
        # Some clients leave out the object around the address.
        is_bare = isinstance(part.get("image_url"), str)
        url = part.string("image_url") if is_bare else part.inner("image_url").string("url")
        return chat_pb2.ContentPart(image=chat_pb2.Image(url=url))
    raise invalid(
        part.path_of("type"), f"must be one of text, image_url, refusal, got '{kind[:100]}'"
    )


def _decode_call(call: Fields) -> chat_pb2.ToolCall:
    call.optional_choice("type", ("function",))
    function = call.inner("function")
    return chat_pb2.ToolCall(
        id=call.string("id"), name=function.string("name"), arguments=_decode_arguments(function)
    )


def _decode_arguments(function: Fields) -> str:
    value = function.get("arguments")
    if isinstance(value, dict):  # by mistake, and often
        return json_text(cast("object", value), function.path_of("arguments"))
    # A call without arguments is written in each of these ways.
    return function.optional_string("arguments") or "{}"
