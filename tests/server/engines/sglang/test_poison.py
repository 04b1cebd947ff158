"""What SGLang is kept from, by a front before it: its scheduler would not survive it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tokenwire.server.engines.sglang.front.engine import SglangEngine

from ....conftest import MODEL_ID
from ...fronts import Client, start_front
from ...lent_engine import LentEngine
from ...poison import STOP_IDS, Make, Poison, assert_refused


@pytest.fixture(scope="module")
def lent(sglang_engine: SglangEngine) -> LentEngine:
    return LentEngine(sglang_engine)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def client(lent: LentEngine) -> AsyncIterator[Client]:
    async with start_front(lent.prepare, LLM_ALLOWED_MODELS=MODEL_ID) as client:
        yield client


class TestPoisonOnSglang(Poison):
    """Nothing that kills SGLang's scheduler comes to it."""

    @pytest.mark.parametrize(("make", "field"), STOP_IDS.values(), ids=STOP_IDS)
    async def test_stop_id_is_refused(
        self, client: Client, lent: LentEngine, make: Make, field: str
    ) -> None:
        """A stop id that the vocabulary lacks is refused."""
        await assert_refused(client, lent, make, field)
