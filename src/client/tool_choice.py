"""Which tools the model may or must call, as a program says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from ..generated.tokenwire.v1 import chat_pb2
from .tool_schema import name_of

_MODES: Final = {
    "auto": chat_pb2.ToolChoice.MODE_AUTO,
    "none": chat_pb2.ToolChoice.MODE_NONE,
    "required": chat_pb2.ToolChoice.MODE_REQUIRED,
}


def tool_choice_of(choice: object) -> chat_pb2.ToolChoice:
    """Reads "auto", "none", "required", or the function that must be called, as `tools` takes it.

    A message, or what protobuf takes for one, is taken as it is.

    Raises:
        TypeError: it is none of them.
    """
    if isinstance(choice, chat_pb2.ToolChoice):
        return choice
    if isinstance(choice, str):
        if choice not in _MODES:
            raise TypeError(
                f"tool_choice is '{choice}': it takes {', '.join(_MODES)}, or the function itself"
            )
        return chat_pb2.ToolChoice(mode=_MODES[choice])
    if isinstance(choice, Mapping):
        try:
            return chat_pb2.ToolChoice(**cast("Mapping[str, Any]", choice))  # as protobuf reads it
        except ValueError as error:  # what it raises of a word that it does not know
            raise TypeError(f"tool_choice: {error}") from error
    if isinstance(choice, chat_pb2.Tool):
        return chat_pb2.ToolChoice(name=choice.name)
    if callable(choice):
        return chat_pb2.ToolChoice(name=name_of(choice))
    raise TypeError(f"tool_choice is a {type(choice).__name__}, neither a word nor a function")


def after_first_turn(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of a later turn of a loop.

    A call that is demanded in every turn would leave the model none to answer in.
    """
    return {name: value for name, value in fields.items() if name != "tool_choice"}
