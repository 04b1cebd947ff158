"""What SGLang's own parsers of tool calls find, in a process that imports SGLang.

Reads a JSON list of `[parser, answer]` from standard input and the tools, and prints a list of
calls for each: `[name, arguments]`.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import tokenwire.server.engines.sglang as sglang_room

# As on a CPU without SGLang's kernels (`engines/sglang/cpu.py`).
sys.path.insert(0, str(Path(sglang_room.__file__).parent / "compat"))


def main() -> None:
    """Answers one question."""
    protocol: Any = import_module("sglang.srt.entrypoints.openai.protocol")
    parsers: Any = import_module("sglang.srt.function_call.function_call_parser")
    question = json.load(sys.stdin)
    tools = [protocol.Tool.model_validate(tool) for tool in question["tools"]]
    found = []
    for name, answer in question["answers"]:
        _, calls = parsers.FunctionCallParser(tools, name).parse_non_stream(answer)
        found.append([[call.name, call.parameters] for call in calls])
    print(json.dumps(found))


if __name__ == "__main__":
    main()
