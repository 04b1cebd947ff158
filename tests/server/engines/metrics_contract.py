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


async def read(engine: Engine) -> dict[str, float]:
    """The sum of the samples of each series, by the name that is scraped."""
    return {
        family.name + ("_total" if family.type == "counter" else ""): sum(
            sample.value for sample in family.samples
        )
        for family in text_string_to_metric_families(await engine.read_metrics())
    }
