"""The functions that a model may call, and their calls."""

from __future__ import annotations

import enum
import inspect
import json
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Union, cast, get_args, get_origin

from ..generated.tokenwire.v1 import chat_pb2
from .answer import ToolCall
from .tool_schema import tool_of


class ToolError(Exception):
    """Raised by a function to tell the model, in its own words, why there is no result.

    Any other exception of a function ends the loop, and reaches the caller.
    """


class _WrongCall(Exception):
    """The model called no function of ours, or not as it is to be called; the model is told."""


class Toolbox:
    """Functions by name. A call that does not fit its function is answered with what is wrong."""

    def __init__(self, functions: Iterable[Callable[..., Any]]) -> None:
        self._functions: dict[str, Callable[..., Any]] = {}
        self.tools: list[chat_pb2.Tool] = []
        for function in functions:
            tool = tool_of(function)
            if tool.name in self._functions:
                raise TypeError(f"two tools are named '{tool.name}'")
            self._functions[tool.name] = function
            self.tools.append(tool)

    def call(self, call: ToolCall) -> str:
        """Calls a function and returns what the model reads of it: its text, or JSON.

        Raises:
            TypeError: the function is asynchronous, or its result is nothing that JSON has.
        """
        try:
            function, arguments = self._find(call)
            result = function(**arguments)
        except (_WrongCall, ToolError) as error:
            return _error(error)
        if inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            raise TypeError(f"{call.name} is asynchronous: run it with AsyncClient")
        return _text(result)

    async def call_async(self, call: ToolCall) -> str:
        """Calls a function, asynchronous or not; otherwise as `call`."""
        try:
            function, arguments = self._find(call)
            result = function(**arguments)
            if inspect.isawaitable(result):
                result = await result
        except (_WrongCall, ToolError) as error:
            return _error(error)
        return _text(result)

    def _find(self, call: ToolCall) -> tuple[Callable[..., Any], dict[str, Any]]:
        function = self._functions.get(call.name)
        if function is None:
            raise _WrongCall(f"there is no tool '{call.name}'")
        try:
            arguments = json.loads(call.arguments or "{}")
        except ValueError:
            raise _WrongCall("the arguments are not JSON") from None
        if not isinstance(arguments, dict):
            raise _WrongCall("the arguments are not an object")
        named = cast("dict[str, object]", arguments)
        try:
            inspect.signature(function).bind(**named)
        except TypeError as error:
            raise _WrongCall(str(error)) from None
        hints = typing.get_type_hints(function, include_extras=True)
        return function, {name: _read(value, hints[name], name) for name, value in named.items()}


def _read(value: object, kind: Any, place: str) -> Any:
    """Returns a value of JSON as its annotation has it.

    Raises:
        _WrongCall: it is of another type.
    """
    origin, parts = get_origin(kind), get_args(kind)
    if origin is typing.Annotated:
        return _read(value, parts[0], place)
    if origin in (Union, types.UnionType):
        for part in parts:
            try:
                return _read(value, part, place)
            except _WrongCall:
                continue
    elif origin is Literal and value in parts and type(value) in map(type, parts):
        return value
    elif isinstance(kind, type) and issubclass(kind, enum.Enum):
        try:
            return kind(value)
        except ValueError:
            pass
    elif kind in (list, Sequence) or origin in (list, Sequence):
        if isinstance(value, list):
            items = cast("list[object]", value)
            return [_read(item, parts[0] if parts else Any, f"{place}[]") for item in items]
    elif kind in (dict, Mapping) or origin in (dict, Mapping):
        if isinstance(value, dict):
            entries = cast("dict[str, object]", value)
            inner = parts[1] if parts else Any
            return {key: _read(item, inner, f"{place}.{key}") for key, item in entries.items()}
    elif _fits(value, kind):
        return value if kind is not float or isinstance(value, float) else float(cast("int", value))
    raise _WrongCall(f"{place} is not what it must be")


def _fits(value: object, kind: Any) -> bool:
    if kind is Any:
        return True
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, int | float)
    return isinstance(kind, type) and isinstance(value, kind)


def _text(result: Any) -> str:
    return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)


def _error(error: Exception) -> str:
    return json.dumps({"error": str(error)}, ensure_ascii=False)
