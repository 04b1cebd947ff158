"""Functions that a model may call, and how its answer is told from thinking and calls."""

from __future__ import annotations

import enum
from typing import Final

import msgspec


class Tool(msgspec.Struct, frozen=True, array_like=True):
    """A function that the model may call. `parameters_schema` is JSON text of an object."""

    name: str
    description: str = ""
    parameters_schema: str = "{}"


class ToolCall(msgspec.Struct, frozen=True, array_like=True):
    """A call that the model asked for earlier. `arguments` is JSON text of an object."""

    id: str
    name: str
    arguments: str


class ToolMode(enum.Enum):
    """How free the model is to call tools."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"


class ToolChoice(msgspec.Struct, frozen=True, array_like=True):
    """Which tools the model may or must call. With `name`, exactly one call of that tool."""

    mode: ToolMode = ToolMode.AUTO
    name: str = ""


ANY_TOOL: Final = ToolChoice()
"""The choice of a request that makes none."""


class AnswerForm(msgspec.Struct, frozen=True, array_like=True):
    """How to read the answer to one rendered conversation.

    `tools` are those that the answer may call, written as `tool_parser` knows; empty: none.
    `reasoning_parser` tells thinking from text, empty: all is text. `begins_in_thought`: the prompt
    ends within a thought. `forced_schema` is the JSON Schema that the whole answer must follow,
    where it must be calls; empty: the model is free.
    """

    tools: tuple[Tool, ...] = ()
    tool_parser: str = ""
    reasoning_parser: str = ""
    begins_in_thought: bool = False
    forced_schema: str = ""
