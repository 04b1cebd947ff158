"""The README's program with a tool, as printed, and the real service on llama.cpp."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from ..client.test_readme import WEATHER
from ..server.engines.answers.templates import TOOLS_AND_THINKING
from ..server.engines.llama_cpp.test_tools import launch_with
from ..server.fronts import Client, scrape, start_front
from .services import Handover

GUARD_S = 120


@pytest_asyncio.fixture
async def front(gguf_file: Path, tmp_path: Path) -> AsyncIterator[Client]:
    """A front that serves SmolLM2 with a template that has tools; its own has none."""
    engine = await launch_with(TOOLS_AND_THINKING, gguf_file, tmp_path)
    async with start_front(Handover(engine).prepare, LLM_ALLOWED_MODELS="owner/model") as client:
        yield client


async def test_weather(front: Client) -> None:
    """The model calls the function, is told its result, and then answers in words."""
    program = WEATHER.replace("localhost:50051", f"127.0.0.1:{front.app.port}")
    async with asyncio.timeout(GUARD_S):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert out.strip()
    series = await scrape(front)
    for reason in ("tool_calls", "eos"):
        name = f'llm_requests_finished_total{{finish_reason="{reason}",model="owner/model"}}'
        assert f"{name} 1.0" in series
