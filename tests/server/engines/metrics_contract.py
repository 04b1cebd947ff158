"""What every engine counts itself."""

from __future__ import annotations

import asyncio
import re

from prometheus_client.parser import text_string_to_metric_families
from tokenwire.server.contract.engine import Engine

from ...docs.pages import read_page
from .generation import HANG_S, PARIS, Contract, answer


class MetricsContract(Contract):
    """What every engine counts itself."""

    async def test_series_of_the_engine(self, engine: Engine) -> None:
        """It counts the tokens of an answer, under names with its prefix that the page has."""
        async with asyncio.timeout(HANG_S):
            before = await read(engine)
            await answer(engine, PARIS)
            after = await read(engine)
        assert any(after[name] > before.get(name, 0.0) for name in after if "tokens" in name)
        named = set(re.findall(r"`((?:llamacpp|sglang):\w+)`", read_page("observability.md")))
        assert set(after) <= named

    async def test_steps_are_counted(self, engine: Engine) -> None:
        """They change with every answer, and stay while the engine rests."""
        async with asyncio.timeout(HANG_S):
            before = (await engine.count_steps()).num_steps
            await answer(engine, PARIS)
            after = await engine.count_steps()
            assert after.num_steps != before
            assert after.longest_step_s > 0
            # What follows the last answer may be published behind it.
            seen = [after.num_steps]
            while seen.count(seen[-1]) < 3:
                seen.append((await engine.count_steps()).num_steps)


async def read(engine: Engine) -> dict[str, float]:
    """The sum of the samples of each series, by the name that is scraped."""
    return {
        family.name + ("_total" if family.type == "counter" else ""): sum(
            sample.value for sample in family.samples
        )
        for family in text_string_to_metric_families(await engine.read_metrics())
    }
