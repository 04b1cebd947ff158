"""Our parsers of calls find in recorded answers what SGLang's own find."""

from __future__ import annotations

import json
from typing import Any

from tokenwire.server.engines.answers.spelling import spell_tool

from ..server.engines.answers.recorded import RECORDED, TOOLS, Recorded
from .conftest import run_python

NAMES = {
    "hermes": "hermes",
    "llama3": "llama3",
    "mistral": "mistral",
    "deepseek": "deepseekv3",
    "glm": "glm45",
    "qwen3-coder": "qwen3_coder",
    "gpt-oss": "gpt-oss",
}
NEWER = {
    "deepseek v3.1, within a thought": "deepseekv31",
    "glm 4.7, without lines, without arguments": "glm47",
}
OTHERWISE = {
    "qwen 3, thinking first": "it is given thinking, too, in which a mark misleads it",
    "hermes, the mark of its end in a string": "it ends the call within the string",
    "mistral, newer": "it takes the id of a call for a part of the name",
    "gpt-oss, preamble, the last mark ends the turn": "it wants the end of the turn in the text",
    "a number that is no JSON": "it tells of arguments that are no JSON",
    "arguments that are quoted twice": "it tells of a string",
}
"""Where SGLang's parsers differ, and why we do."""


async def test_same_calls() -> None:
    """The same names and arguments, in all formats; each difference is known."""
    recorded = [each for each in RECORDED if each.tool_parser in NAMES]
    question = {
        "tools": [spell_tool(tool) for tool in TOOLS.values()],
        "answers": [[_name_of(each), each.answer] for each in recorded],
    }
    output = await run_python("sglang_parsers", stdin=json.dumps(question))
    found: list[list[list[str]]] = json.loads(output.splitlines()[-1])
    differing = {
        each.name
        for each, calls in zip(recorded, found, strict=True)
        if _values(calls) != _values([list(call) for call in each.calls])
    }
    assert differing == set(OTHERWISE)


def _name_of(recorded: Recorded) -> str:
    return NEWER.get(recorded.name, NAMES[recorded.tool_parser])


def _values(calls: list[list[str]]) -> list[Any]:
    return [(name, json.loads(arguments or "{}")) for name, arguments in calls]
