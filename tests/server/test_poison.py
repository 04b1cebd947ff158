"""What no engine ever sees, whichever it is: one that notes what reaches it."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from .fronts import Client, start_front
from .lent_engine import LentEngine
from .poison import POISONS, STOP_IDS, EngineIds, Make, assert_refused
from .scripted_engine import ScriptedEngine


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lent() -> LentEngine:
    engine = ScriptedEngine(max_running=4)
    engine.allow(1_000)
    return LentEngine(engine)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def client(lent: LentEngine) -> AsyncGenerator[Client]:
    async with start_front(lent.prepare) as client:
        yield client


@pytest.mark.parametrize(
    ("make", "field"), [*POISONS.values(), *STOP_IDS.values()], ids=[*POISONS, *STOP_IDS]
)
async def test_poison_is_refused(client: Client, lent: LentEngine, make: Make, field: str) -> None:
    """Each is refused by the name of its field, and the engine hears nothing of it."""
    await assert_refused(client, lent, make, field)


class TestEngineIds(EngineIds):
    """Ids on the way to any engine."""
