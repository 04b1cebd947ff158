"""The examples of README and docs/client.md, as printed, against a scripted service."""

from __future__ import annotations

import asyncio
import re
import sys

import pytest

from ..docs.pages import ROOT, read_page
from .answers import CALLED, HELLO, end, text, tool_call, whole
from .scripted_service import ScriptedService, serving

GUARD_S = 60
BLOCK = re.compile(r"^```py\n(.*?)^```$", re.MULTILINE | re.DOTALL)
(WEATHER,) = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
THREADS, TASKS, _TLS = BLOCK.findall(read_page("client.md"))


async def run(example: str, service: ScriptedService) -> str:
    """What an example prints, its server being the scripted one."""
    async with asyncio.timeout(GUARD_S), serving(service) as port:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", example.replace("localhost:50051", f"127.0.0.1:{port}")),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_weather() -> None:
    """The tool is called as the model asks, and its last turn is printed."""
    service = ScriptedService(
        whole(text("Let me see."), *tool_call("c1", "weather", '{"city": "Oslo"}'), end(CALLED)),
        whole(text("A T-shirt."), end()),
    )
    assert await run(WEATHER, service) == "A T-shirt.\n"
    question, asked, result = service.requests[1].messages
    assert question.content[0].text == "What should I wear in Oslo today?"
    assert asked.tool_calls[0].name == "weather"
    assert result.content[0].text == "Oslo: sunny, 21 degrees"
    assert '"Its name, in English."' in service.requests[0].tools[0].parameters_schema


@pytest.mark.parametrize("example", [THREADS, TASKS])
async def test_page(example: str) -> None:
    """Both ways of asking print an answer and a stream."""
    assert (await run(example, ScriptedService(HELLO, HELLO))).count("Hello") == 2
