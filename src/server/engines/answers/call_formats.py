"""How models write calls of tools."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .found_calls import (
    FoundCall,
    Tools,
    check_end,
    make_call,
    make_typed_call,
    read_call_object,
)
from .json_text import NotJson, read_value, skip_space


@dataclass(frozen=True, slots=True)
class CallFormat:
    """One way to write calls, as blocks in the text.

    A block begins with one of `begins`, or, where the answer begins, with one of `first_begins`. It
    ends with `end`, or with the answer, unless it `needs_end`; empty: with the answer alone. `read`
    takes a block without its `end` and raises `NotJson` where it is none. `noise` are marks that
    mean nothing to callers. `marks` are what the model may write as special tokens.
    """

    read: Callable[[str, Tools], list[FoundCall]]
    begins: tuple[str, ...] = ()
    first_begins: tuple[str, ...] = ()
    end: str = ""
    needs_end: bool = False
    noise: tuple[str, ...] = ()
    inner_marks: tuple[str, ...] = ()

    @property
    def marks(self) -> tuple[str, ...]:
        """Every mark that may be a special token of the model."""
        ends = (self.end,) if self.end else ()
        return (*self.begins, *ends, *self.noise, *self.inner_marks)


_BLOCK = "<tool_call>"
_PYTHON_TAG = "<|python_tag|>"
_MISTRAL = "[TOOL_CALLS]"
_CALLS_BEGIN, _CALLS_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
_CALL_BEGIN, _CALL_END = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"
_DEEPSEEK_SEPARATOR = "<｜tool▁sep｜>"
_HARMONY = "<|channel|>commentary to=functions."

_MISTRAL_NAME = re.compile(r"([^\s\[{]+)(?:\[CALL_ID\][^\[{]*)?(?:\[ARGS\])?")
_DEEPSEEK_FENCED = re.compile(r"([^\n]+)\n```json\n(.*)\n```\s*", re.DOTALL)
_GLM_ARGUMENT = re.compile(
    r"\s*<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>\s*", re.DOTALL
)
_CODER_FUNCTION = re.compile(r"\s*<function=([^>\n]+)>(.*)</function>\s*", re.DOTALL)
_CODER_PARAMETER = re.compile(r"\s*<parameter=([^>\n]+)>(.*?)</parameter>\s*", re.DOTALL)
_HARMONY_CALL = re.compile(
    r"([^\s<]+)\s*(?:<\|constrain\|>\s*)?(?:json)?\s*<\|message\|>(.*)", re.DOTALL
)


def _read_hermes(block: str, tools: Tools) -> list[FoundCall]:
    call, end = read_call_object(block, len(_BLOCK), tools)
    check_end(block, end)
    return [call]


def _read_llama3(block: str, tools: Tools) -> list[FoundCall]:
    position = len(_PYTHON_TAG) if block.startswith(_PYTHON_TAG) else 0
    calls: list[FoundCall] = []
    while True:
        call, position = read_call_object(block, position, tools)
        calls.append(call)
        position = skip_space(block, position)
        if position == len(block):
            return calls
        if block[position] != ";":
            raise NotJson("calls are separated by semicolons")
        position += 1


def _read_forced(block: str, tools: Tools) -> list[FoundCall]:
    """Reads the calls of a list that are whole: the answer may have been cut within another."""
    calls: list[FoundCall] = []
    position = 0
    while block[position : position + 1] in ("[", ","):
        try:
            call, position = read_call_object(block, position + 1, tools)
        except NotJson:
            break
        calls.append(call)
        position = skip_space(block, position)
    return calls


def _read_array(text: str, start: int, tools: Tools) -> tuple[list[FoundCall], int]:
    _, _, end = read_value(text, start)  # whole JSON: what follows the calls is comma or bracket
    calls: list[FoundCall] = []
    position = start
    while position < end - 1:
        call, position = read_call_object(text, position + 1, tools)
        calls.append(call)
        position = skip_space(text, position)
    return calls, end


def _read_mistral(block: str, tools: Tools) -> list[FoundCall]:
    calls: list[FoundCall] = []
    position = 0
    while position < len(block):
        if block.startswith(_MISTRAL, position):
            position = skip_space(block, position + len(_MISTRAL))
        if block.startswith("[", position):
            found, position = _read_array(block, position, tools)
            calls += found
        else:
            head = _MISTRAL_NAME.match(block, position)
            if head is None:
                raise NotJson("a call begins with a name or a list")
            _, arguments, position = read_value(block, head.end())
            calls.append(make_call(head[1], arguments, tools))
        position = skip_space(block, position)
    return calls


def _read_deepseek(block: str, tools: Tools) -> list[FoundCall]:
    calls: list[FoundCall] = []
    for part in block.removeprefix(_CALLS_BEGIN).split(_CALL_BEGIN)[1:]:
        inner, _, behind = part.partition(_CALL_END)
        head, separator, rest = inner.partition(_DEEPSEEK_SEPARATOR)
        if not separator or behind.strip():
            raise NotJson("a call has a name and arguments")
        fenced = _DEEPSEEK_FENCED.fullmatch(rest)
        name, arguments = (fenced[1], fenced[2]) if fenced else (head, rest)
        calls.append(make_call(name.strip(), arguments, tools))
    if not calls:
        raise NotJson("there is no call")
    return calls


def _read_glm(block: str, tools: Tools) -> list[FoundCall]:
    head, first, rest = block.removeprefix(_BLOCK).partition("<arg_key>")
    values = _read_pairs(_GLM_ARGUMENT, first + rest)
    return [make_typed_call(head.strip(), values, tools)]


def _read_coder(block: str, tools: Tools) -> list[FoundCall]:
    function = _CODER_FUNCTION.fullmatch(block.removeprefix(_BLOCK))
    if function is None:
        raise NotJson("a call is a function")
    values = _read_pairs(_CODER_PARAMETER, function[2])
    trimmed = {key: value.removeprefix("\n").removesuffix("\n") for key, value in values.items()}
    return [make_typed_call(function[1].strip(), trimmed, tools)]


def _read_pairs(pair: re.Pattern[str], text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    position = skip_space(text, 0)
    while position < len(text):
        found = pair.match(text, position)
        if found is None:
            raise NotJson("arguments are pairs")
        values[found[1].strip()] = found[2]
        position = found.end()
    return values


def _read_harmony(block: str, tools: Tools) -> list[FoundCall]:
    call = _HARMONY_CALL.fullmatch(block.removeprefix(_HARMONY))
    if call is None:
        raise NotJson("a call has a name and a message")
    return [make_call(call[1], call[2], tools)]


FORCED: Final = "json"
"""The format of an answer that must be calls: a JSON array, which a JSON Schema can demand."""

CALL_FORMATS: Final = {
    "hermes": CallFormat(_read_hermes, begins=(_BLOCK,), end="</tool_call>"),
    "llama3": CallFormat(_read_llama3, begins=(_PYTHON_TAG,), first_begins=("{",)),
    "mistral": CallFormat(_read_mistral, begins=(_MISTRAL,), inner_marks=("[ARGS]", "[CALL_ID]")),
    "deepseek": CallFormat(
        _read_deepseek,
        begins=(_CALLS_BEGIN,),
        end=_CALLS_END,
        inner_marks=(_CALL_BEGIN, _CALL_END, _DEEPSEEK_SEPARATOR),
    ),
    "glm": CallFormat(
        _read_glm,
        begins=(_BLOCK,),
        end="</tool_call>",
        needs_end=True,  # one that is cut between two arguments looks whole
        inner_marks=("<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"),
    ),
    "qwen3-coder": CallFormat(_read_coder, begins=(_BLOCK,), end="</tool_call>"),
    "gpt-oss": CallFormat(
        _read_harmony,
        begins=(_HARMONY,),
        end="<|call|>",
        noise=(
            "<|start|>assistant",
            "<|channel|>final<|message|>",
            "<|channel|>commentary<|message|>",
            "<|end|>",
        ),
        inner_marks=("<|channel|>", "<|message|>", "<|constrain|>", "<|start|>"),
    ),
    FORCED: CallFormat(_read_forced, first_begins=("[",)),
}
"""Every format by name. The names of `LLM_TOOL_PARSER` are these, but for FORCED."""
