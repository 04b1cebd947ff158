"""How every engine begins and ends."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tokenwire.server.contract.engine import Engine, EngineLauncher
from tokenwire.server.contract.errors import EngineLost
from tokenwire.server.contract.load_progress import LoadProgress
from tokenwire.server.contract.prompts import RenderedPrompt
from tokenwire.server.contract.token_ids import TokenIds

from .generation import HANG_S, PARIS, PARIS_ANSWER, STORY, Contract, answer, request_for


class LifeContract(Contract):
    """How every engine begins and ends."""

    @pytest_asyncio.fixture(loop_scope="session")
    async def closed(self, launcher: EngineLauncher) -> Engine:
        """An engine of its own, launched and closed; one that is dear to start brings another."""
        steps = list[LoadProgress]()
        engine = await launcher.launch(steps.append)
        await engine.close()
        assert steps
        return engine

    @pytest_asyncio.fixture(loop_scope="session")
    async def relaunched(self, launcher: EngineLauncher) -> AsyncIterator[Engine]:
        """An engine of a launcher that has seen another one be killed."""
        first = await launcher.launch(lambda _: None)
        os.killpg(first.pid, signal.SIGKILL)  # type: ignore[attr-defined] # both engines tell it
        await first.wait_lost()
        await first.close()
        second = await launcher.launch(lambda _: None)
        yield second
        await second.close()

    async def test_launcher_starts_another(self, relaunched: Engine) -> None:
        """A launcher whose engine was killed brings another that serves."""
        assert (await answer(relaunched, PARIS)).text == PARIS_ANSWER

    async def test_closed_engine_is_lost(self, closed: Engine) -> None:
        """A closed engine refuses every call, is told as lost, and may be closed again."""
        async with asyncio.timeout(HANG_S):
            with pytest.raises(EngineLost):
                await closed.render(STORY)
            with pytest.raises(EngineLost):
                await anext(closed.generate(request_for(RenderedPrompt(TokenIds.of((1,))))))
            with pytest.raises(EngineLost):
                await closed.status()
            with pytest.raises(EngineLost):
                await closed.read_metrics()
            assert await closed.wait_lost()
            await closed.close()
