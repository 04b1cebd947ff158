"""SmolLM2 with weights quantised while they load: it answers, says so, and is smaller."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from tokenwire.server.contract.engine import ModelInfo
from tokenwire.server.contract.engine_settings import ModelFiles
from tokenwire.server.contract.events import TextDelta
from tokenwire.server.contract.isq_type import IsqType
from tokenwire.server.contract.prompts import ChatMessage, ChatPrompt, Role
from tokenwire.server.engines.sglang.settings import SglangSettings

from ..server.engines.contract import GREEDY, request_for
from ..server.engines.sglang.fixtures import launcher_for
from .conftest import run_python

QUESTION = ChatPrompt((ChatMessage(Role.USER, "What is the capital of France?"),))


class Quantised:
    """What one start with quantised weights showed."""

    def __init__(self, isq: IsqType) -> None:
        self.isq = isq
        self.steps: list[str] = []
        self.answer = ""
        self.info: ModelInfo | None = None


@pytest_asyncio.fixture(
    scope="module", loop_scope="session", params=[IsqType.Q8_0, IsqType.Q4_K], ids=["int8", "int4"]
)
async def quantised(
    request: pytest.FixtureRequest,
    sglang_model_files: ModelFiles,
    sglang_settings: SglangSettings,
) -> AsyncIterator[Quantised]:
    """Started once for each format."""
    found = Quantised(request.param)
    launcher = launcher_for(sglang_model_files, replace(sglang_settings, isq=found.isq))
    engine = await launcher.launch(lambda progress: found.steps.append(progress.step))
    try:
        found.info = engine.info
        rendered = await engine.render(QUESTION)
        async for event in engine.generate(request_for(rendered, replace(GREEDY, max_tokens=24))):
            if isinstance(event, TextDelta):
                found.answer += event.text
    finally:
        await engine.close()
    yield found


async def test_answer(quantised: Quantised) -> None:
    """A quantised model still knows the capital of France."""
    assert "Paris" in quantised.answer


async def test_told(quantised: Quantised) -> None:
    """Model info names what the weights became, and the load tells layers and sizes."""
    bits = "int8" if quantised.isq is IsqType.Q8_0 else "int4"
    assert quantised.info is not None
    assert quantised.info.quantization == f"{bits} (weight-only)"
    # 30 layers of four, and the embedding, which is the output layer too.
    (step,) = (step for step in quantised.steps if "quantised" in step)
    assert step.startswith(f"121 layers quantised to {bits}: 513 MiB became ")


async def test_memory(quantised: Quantised) -> None:
    """The layers take a quarter of float32 in 8 bits, and a little over a sixth in 4.

    In 4 bits it is five bits a weight with scales; the embedding, a fifth of all weights, has 8.
    """
    (step,) = (step for step in quantised.steps if "quantised" in step)
    before, after = (int(size) for size in re.findall(r"(\d+) MiB", step))
    expected = 0.25 if quantised.isq is IsqType.Q8_0 else 0.176
    assert after / before == pytest.approx(expected, rel=0.03)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def layers() -> dict[str, Any]:
    """SGLang's own layers under our method, in a process without an engine."""
    found: dict[str, Any] = json.loads((await run_python("isq_layers")).splitlines()[-1])
    return found


@pytest.mark.parametrize(
    ("name", "dtype", "shape", "most"),
    [
        ("plain", "torch.uint8", [2, 3, 96], 0.1),
        ("merged", "torch.uint8", [5, 128], 0.1),
        ("narrow", "torch.int8", [5, 96], 0.01),  # 48 inputs are no multiple of a group
    ],
)
async def test_layers(
    layers: dict[str, Any], name: str, dtype: str, shape: list[int], most: float
) -> None:
    """Plain, biased, merged and odd layers are packed with their last part, and compute."""
    assert layers[name]["dtype"] == dtype
    assert layers[name]["shape"] == shape
    assert layers[name]["error"] < most


async def test_layers_that_are_read_raw(layers: dict[str, Any]) -> None:
    """What latent attention takes apart by itself stays as it is."""
    assert layers["raw"] == "UnquantizedLinearMethod"


async def test_tied_output_layer(layers: dict[str, Any]) -> None:
    """An output layer that shares its embedding's weights shares the packed ones."""
    assert layers["embedding"] < 0.05
    assert layers["logits"] == 0


async def test_outcome(layers: dict[str, Any]) -> None:
    """A tied layer counts once, and what was left alone is counted."""
    assert layers["outcome"]["num_layers"] == 3
    assert layers["outcome"]["num_left"] == 1
