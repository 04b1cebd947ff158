"""The engines' own series on the front's page."""

from __future__ import annotations

import asyncio

from tokenwire.server.models.model_state import State

from ...fronts import scrape, scrape_blocking, start_front, wait_for_state
from ...scripted_engine import ScriptedEngine, ScriptedLauncher, ScriptedPreparation

A, B = "test/a", "test/b"
BOTH = {"LLM_ALLOWED_MODELS": f"{A},{B}"}
PAGE = """\
# HELP engine:steps_total Steps.
# TYPE engine:steps_total counter
engine:steps_total{model_name="/a/path",rank="0"} 3.0
# HELP process_open_fds Files.
# TYPE process_open_fds gauge
process_open_fds 7.0
"""


def up(model: str, value: float) -> str:
    return f'llm_engine_metrics_up{{model="{model}"}} {value}'


async def test_series_of_engines_have_their_model() -> None:
    """Series of two engines stand below one head, each with its model, and nothing else of them."""
    engines = {A: ScriptedEngine(), B: ScriptedEngine()}
    for engine in engines.values():
        engine.page = PAGE
    launchers = {model: ScriptedLauncher(engine) for model, engine in engines.items()}
    async with start_front(ScriptedPreparation(launchers).prepare, **BOTH) as client:
        await wait_for_state(client.app, State.SERVING, model=B)
        lines = await scrape(client)
    assert lines.count("# TYPE engine:steps_total counter") == 1
    for model in engines:
        assert f'engine:steps_total{{model="{model}",rank="0"}} 3.0' in lines
        assert up(model, 1.0) in lines
    assert "/a/path" not in "\n".join(lines)
    assert sum(line.startswith("process_open_fds ") for line in lines) == 1


async def test_what_cannot_be_read_is_left_out() -> None:
    """A page of an engine that is no page of metrics costs its own series, and no others."""
    engine = ScriptedEngine()
    engine.page = "engine:steps_total{ 3.0"
    async with start_front(ScriptedLauncher(engine).prepare, LLM_ALLOWED_MODELS=A) as client:
        lines = await scrape(client)
    assert up(A, 0.0) in lines
    assert "llm_drain_state 0.0" in lines


async def test_a_frozen_engine_holds_nothing_up() -> None:
    """What an engine said before stays on the page while it does not answer, and is told as old.

    Takes the 0.3 s that engines are given.
    """
    engine = ScriptedEngine()
    engine.page = PAGE
    async with start_front(ScriptedLauncher(engine).prepare, LLM_ALLOWED_MODELS=A) as client:
        fresh = await scrape(client)
        engine.tells.clear()
        async with asyncio.timeout(45):
            frozen = await scrape(client)
        engine.tells.set()
        thawed = await scrape(client)
    steps = f'engine:steps_total{{model="{A}",rank="0"}} 3.0'
    assert all(steps in lines for lines in (fresh, frozen, thawed))
    assert up(A, 1.0) in fresh
    assert up(A, 0.0) in frozen
    assert up(A, 1.0) in thawed


async def test_a_busy_loop_holds_nothing_up() -> None:
    """A scrape is answered while the event loop is blocked, with what engines said before.

    Takes the 0.4 s that the loop is given.
    """
    engine = ScriptedEngine()
    engine.page = PAGE
    async with start_front(ScriptedLauncher(engine).prepare, LLM_ALLOWED_MODELS=A) as client:
        await scrape(client)
        # Blocks this loop, which is the front's, until the page is there.
        lines = scrape_blocking(client.app.metrics_port)
    assert up(A, 0.0) in lines
    assert f'engine:steps_total{{model="{A}",rank="0"}} 3.0' in lines


async def test_series_end_with_their_engine() -> None:
    """The next engine counts anew: what the dead one said is not told as its."""
    first, second = ScriptedEngine(), ScriptedEngine()
    first.page = PAGE
    launcher = ScriptedLauncher(first, second)
    async with start_front(launcher.prepare, LLM_ALLOWED_MODELS=A) as client:
        before = await scrape(client)
        launcher.gate.clear()
        first.die()
        await wait_for_state(client.app, State.LOADING)
        between = await scrape(client)
        launcher.gate.set()
        await wait_for_state(client.app, State.SERVING)
        after = await scrape(client)
    assert any(line.startswith("engine:steps_total") for line in before)
    for lines in (between, after):
        assert not any(line.startswith("engine:steps_total") for line in lines)
    assert up(A, 0.0) in between
    assert up(A, 1.0) in after
    assert f'llm_engine_restarts_total{{model="{A}"}} 1.0' in after


async def test_use_of_the_kv_cache() -> None:
    """What an engine tells of its KV cache is a metric of ours."""
    engine = ScriptedEngine()
    engine.kv_usage = 0.25
    async with start_front(ScriptedLauncher(engine).prepare, LLM_ALLOWED_MODELS=A) as client:
        lines = await scrape(client)
    assert f'llm_kv_cache_usage_ratio{{model="{A}"}} 0.25' in lines
