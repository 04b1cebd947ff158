"""LoRA adapters of requests reach SGLang, which runs them on a GPU only."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest
from tokenwire.server.contract.errors import GenerationFailed
from tokenwire.server.engines.sglang.front.engine import SglangEngine

from ..contract import GREEDY, HANG_S, STORY, request_for


async def test_adapter_reaches_sglang(sglang_engine: SglangEngine) -> None:
    """A request's adapter is told to SGLang: without adapters it refuses the request, alive."""
    rendered = await sglang_engine.render(STORY)
    request = replace(request_for(rendered, GREEDY), lora_adapter="sql")
    async with asyncio.timeout(HANG_S), aclosing(sglang_engine.generate(request)) as events:
        with pytest.raises(GenerationFailed, match="because of its LoRA adapter") as caught:
            await anext(events)
    assert "lora" in caught.value.detail.lower()
    assert sglang_engine.info.lora_adapters == ()
    assert (await sglang_engine.status()).num_running == 0
