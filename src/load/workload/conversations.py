"""Prompts and answers from a file: ShareGPT's JSON and its kin, or a JSON object a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import orjson

_CHARACTERS_PER_TOKEN = 4  # of English text, a rule of thumb: OpenAI's help page on tokens
_ASKING = frozenset({"human", "user"})
_ANSWERING = frozenset({"gpt", "assistant", "model", "chatgpt", "bing", "bard"})
_TURNS = ("conversations", "conversation", "messages", "items")
_PROMPTS = ("prompt", "input", "question", "instruction")
_OUTPUTS = ("output", "completion", "response", "answer")
_OUTPUT_LENGTHS = ("output_tokens", "output_length", "output_len", "max_tokens")


class DatasetMistake(Exception):
    """A file cannot be read, or holds nothing that can be asked."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A prompt and how long its answer was, in tokens; `is_estimated`: from its characters."""

    prompt: str
    num_output_tokens: int | None
    is_estimated: bool = False


def read_samples(path: Path) -> list[Sample]:
    """Reads what can be asked: of a conversation its first question and the answer to it.

    Raises:
        DatasetMistake: the file cannot be read, is no JSON, or holds no prompt.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetMistake(f"{path} cannot be read: {error}") from error
    samples = [
        sample for item in _items(path, data) if (sample := _sample(item)) and sample.prompt.strip()
    ]
    if not samples:
        raise DatasetMistake(
            f"{path} holds no prompt: it takes ShareGPT's JSON (a list of objects with "
            "`conversations`), or lines of objects with `prompt` and, where known, `output` or "
            "`output_tokens`"
        )
    return samples


def estimate_tokens(text: str) -> int:
    """Returns about how many tokens a text has; at least one."""
    return max(1, round(len(text) / _CHARACTERS_PER_TOKEN))


def _items(path: Path, data: bytes) -> Iterator[Any]:
    # Any: JSON of whoever wrote it.
    if data.lstrip()[:1] == b"[":
        try:
            yield from orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise DatasetMistake(f"{path} is no JSON: {error}") from error
        return
    for number, line in enumerate(data.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            yield orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise DatasetMistake(f"{path}: line {number} is no JSON: {error}") from error


def _sample(item: Any) -> Sample | None:
    if isinstance(item, str):
        return Sample(item, None)
    if not isinstance(item, dict):
        return None
    fields = cast("dict[str, Any]", item)
    output = _text(fields, _OUTPUTS)
    turns: Any = next((fields[name] for name in _TURNS if isinstance(fields.get(name), list)), None)
    if turns is not None:
        prompt, answer = _first_turn(turns)
        output = answer or output
    else:
        prompt = _text(fields, _PROMPTS)
    length = next(
        (fields[n] for n in _OUTPUT_LENGTHS if type(fields.get(n)) is int and fields[n] > 0), None
    )
    if length is None and output:
        return Sample(prompt, estimate_tokens(output), is_estimated=True)
    return Sample(prompt, length)


def _first_turn(turns: list[Any]) -> tuple[str, str]:
    """Returns the first question and, right behind it, its answer; either may be empty."""
    for number, turn in enumerate(turns):
        if _speaker(turn) in _ASKING:
            behind: Any = turns[number + 1] if number + 1 < len(turns) else None
            return _said(turn), _said(behind) if _speaker(behind) in _ANSWERING else ""
    return "", ""


def _speaker(turn: Any) -> str:
    if not isinstance(turn, dict):
        return ""
    fields = cast("dict[str, Any]", turn)
    return str(fields.get("from") or fields.get("role") or "").lower()


def _said(turn: Any) -> str:
    if not isinstance(turn, dict):
        return ""
    return _text(cast("dict[str, Any]", turn), ("value", "content", "text"))


def _text(fields: Mapping[str, Any], names: tuple[str, ...]) -> str:
    texts = (fields.get(name) for name in names)
    return next((text for text in texts if isinstance(text, str) and text), "")
