"""First loads that somebody else ends, as a kernel without memory does."""

from __future__ import annotations

import pytest
from tokenwire.server.contract.errors import LoadKilled, ModelLoadFailed
from tokenwire.server.models.model_state import State

from ...fronts import collect, start_front, wait_for_state
from ...scripted_engine import ScriptedEngine, ScriptedLauncher


def killed() -> LoadKilled:
    return LoadKilled("the process was ended by SIGKILL", detail="words for the log")


@pytest.fixture(autouse=True)
def no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenwire.server.models.engine_keeper._LOAD_DELAYS_S", (0.0,) * 3)


async def test_killed_load_is_tried_again() -> None:
    """Three times; the engine that loads at last serves, and nothing counts as a death."""
    engine = ScriptedEngine()
    engine.allow(1)
    launcher = ScriptedLauncher(killed(), killed(), killed(), engine)
    async with start_front(launcher.prepare) as client:
        await wait_for_state(client.app, State.SERVING)
        request = client.chat("go")
        request.sampling.max_tokens = 1
        assert (await collect(client.inference.Chat(request))).text == "0 "
        assert launcher.num_launches == 4
        assert next(iter(client.app.models)).keeper.num_restarts == 0


async def test_fourth_killed_load_is_the_last() -> None:
    """Then the model has failed, and says why."""
    launcher = ScriptedLauncher(*[killed() for _ in range(5)])
    async with start_front(launcher.prepare, wait=False) as client:
        await wait_for_state(client.app, State.FAILED)
        assert "SIGKILL" in client.app.models.views[0].failure
        assert launcher.num_launches == 4


async def test_load_that_fails_by_itself_is_not_tried_again() -> None:
    """Broken files are as broken the second time, also behind a load that was killed."""
    launcher = ScriptedLauncher(killed(), ModelLoadFailed("broken"), ScriptedEngine())
    async with start_front(launcher.prepare, wait=False) as client:
        await wait_for_state(client.app, State.FAILED)
        assert client.app.models.views[0].failure == "broken"
        assert launcher.num_launches == 2
