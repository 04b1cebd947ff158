"""What becomes of a llama.cpp child, and of its requests, when it dies or is closed."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
from tokenwire.server.contract.errors import EngineLost
from tokenwire.server.contract.events import TextDelta
from tokenwire.server.contract.prompts import TextPrompt

from ...generation import GREEDY, HANG_S, STORY, answer, drain, request_for
from ..launching import launch, modes


async def test_kill_ends_running_stream(gguf_file: Path) -> None:
    """A killed child ends its streams as lost, tells why, and refuses everything after."""
    engine = await launch(gguf_file)
    rendered = await engine.render(STORY)
    params = replace(GREEDY, max_tokens=200, ignore_eos=True)
    async with asyncio.timeout(HANG_S):
        async with aclosing(engine.generate(request_for(rendered, params))) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    os.kill(engine.pid, signal.SIGKILL)
                    break
            with pytest.raises(EngineLost):
                await drain(events)
        assert "SIGKILL" in await engine.wait_lost()
        with pytest.raises(EngineLost):
            await answer(engine, STORY)
        with pytest.raises(EngineLost):
            await engine.status()
        await engine.close()


async def test_kill_ends_waiting_requests(gguf_file: Path) -> None:
    """Requests that wait for a slot when the child dies are lost too."""
    engine = await launch(gguf_file)
    params = replace(GREEDY, max_tokens=200, ignore_eos=True)
    async with asyncio.timeout(HANG_S):
        rendered = await engine.render(STORY)
        async with aclosing(engine.generate(request_for(rendered, params))) as events:
            await anext(events)
            waiting = [
                asyncio.create_task(answer(engine, TextPrompt(f"{number}"), params))
                for number in range(4)
            ]
            async for event in events:
                if isinstance(event, TextDelta):
                    os.kill(engine.pid, signal.SIGKILL)
                    break
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(result, EngineLost) for result in results)
        await engine.close()


async def test_stopped_child_is_closed(gguf_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that reacts to nothing is ended all the same, after a grace."""
    monkeypatch.setattr("tokenwire.server.engines.llama_cpp.child.process._GRACE_S", 0.1)
    engine = await launch(gguf_file)
    os.kill(engine.pid, signal.SIGSTOP)
    async with asyncio.timeout(HANG_S):
        await engine.close()
    with pytest.raises(ProcessLookupError):
        os.kill(engine.pid, 0)


async def test_close_removes_socket(
    gguf_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket's private folder lives as long as the engine."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    engine = await launch(gguf_file)
    assert modes(tmp_path) == [0o700]
    await engine.close()
    assert modes(tmp_path) == []
