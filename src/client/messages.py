"""Messages of a conversation, and requests made of Python's own values."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from google.protobuf.duration_pb2 import Duration

from ..generated.tokenwire.v1 import chat_pb2, inference_pb2, sampling_pb2
from .tool_choice import tool_choice_of
from .tool_schema import tool_of

Messages = str | chat_pb2.Message | Iterable[chat_pb2.Message]
"""A conversation: its messages, or one text of the user."""

Tools = Iterable[Callable[..., Any] | chat_pb2.Tool]
"""Functions that the model may call, by what they are or as they are described."""

_SAMPLING = frozenset(sampling_pb2.Sampling.DESCRIPTOR.fields_by_name)
_RequestT = TypeVar("_RequestT", inference_pb2.ChatRequest, inference_pb2.GenerateRequest)


def system(text: str) -> chat_pb2.Message:
    """Makes a message with instructions for the model."""
    return _message(chat_pb2.ROLE_SYSTEM, text)


def user(text: str) -> chat_pb2.Message:
    """Makes a message of the user."""
    return _message(chat_pb2.ROLE_USER, text)


def assistant(text: str, tool_calls: Iterable[chat_pb2.ToolCall] = ()) -> chat_pb2.Message:
    """Makes a message of the model, for the history."""
    message = chat_pb2.Message(role=chat_pb2.ROLE_ASSISTANT, tool_calls=tool_calls)
    if text:
        message.content.add(text=text)
    return message


def tool_result(call_id: str, content: str) -> chat_pb2.Message:
    """Makes the message that answers a call of the model."""
    message = _message(chat_pb2.ROLE_TOOL, content)
    message.tool_call_id = call_id
    return message


def conversation(messages: Messages) -> list[chat_pb2.Message]:
    """Returns the messages of a conversation."""
    if isinstance(messages, str):
        return [user(messages)]
    return [messages] if isinstance(messages, chat_pb2.Message) else list(messages)


def chat_request(
    model: str, messages: Messages, tools: Tools, fields: Mapping[str, Any]
) -> inference_pb2.ChatRequest:
    """Makes a request of its parts; `fields` are others of it, or of its sampling, by name.

    Raises:
        TypeError: there is no such field, or a value is of another type.
    """
    request = inference_pb2.ChatRequest(
        model=model,
        messages=conversation(messages),
        tools=[tool if isinstance(tool, chat_pb2.Tool) else tool_of(tool) for tool in tools],
    )
    if (choice := fields.get("tool_choice")) is not None:
        fields = {**fields, "tool_choice": tool_choice_of(choice)}
    return _filled(request, fields)


def generate_request(
    model: str, prompt: str | Iterable[int], fields: Mapping[str, Any]
) -> inference_pb2.GenerateRequest:
    """Makes a request of a text or token ids; `fields` and errors as for `chat_request`."""
    if isinstance(prompt, str):
        request = inference_pb2.GenerateRequest(model=model, text=prompt)
    else:
        ids = inference_pb2.TokenIds(ids=prompt)
        request = inference_pb2.GenerateRequest(model=model, token_ids=ids)
    return _filled(request, fields)


def _filled(request: _RequestT, fields: Mapping[str, Any]) -> _RequestT:
    own: Mapping[str, Any] = request.DESCRIPTOR.fields_by_name
    values: dict[str, Any] = {}
    sampling: dict[str, Any] = {}
    for name, value in fields.items():
        if value is None:
            continue
        if name in own:
            kind = own[name].message_type
            is_duration = kind is not None and kind.full_name == Duration.DESCRIPTOR.full_name
            values[name] = _duration(value) if is_duration else value
        elif name in _SAMPLING:
            sampling[name] = value
        else:
            near = difflib.get_close_matches(name, [*own, *_SAMPLING], 1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise TypeError(f"no field '{name}' in {request.DESCRIPTOR.name}{hint}")
    try:
        request.MergeFrom(type(request)(**values))
        request.sampling.MergeFrom(sampling_pb2.Sampling(**sampling))
    except ValueError as error:  # what protobuf raises where a number does not fit
        raise TypeError(str(error)) from error
    return request


def _duration(value: Any) -> Any:
    if not isinstance(value, int | float):
        return value
    seconds, rest = divmod(value, 1)
    return Duration(seconds=int(seconds), nanos=int(rest * 1e9))


def _message(role: chat_pb2.Role.ValueType, text: str) -> chat_pb2.Message:
    return chat_pb2.Message(role=role, content=[chat_pb2.ContentPart(text=text)])
