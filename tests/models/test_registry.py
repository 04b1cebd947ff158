"""SGLang has code for every architecture that is documented, run here or not."""

from __future__ import annotations

import json

import pytest_asyncio

from .architectures import ARCHITECTURES
from .conftest import run_python
from .documented import GGUF_MODELS, STANDARD_MODELS, VISION_MODELS
from .results import Results

MADE_UP = "NoSuchModelForCausalLM"
# SGLang runs these with the code of transformers.
BY_TRANSFORMERS = {"SmolLM3ForCausalLM", "LlavaNextForConditionalGeneration"}
NOT_AT_ALL = {
    model.architecture
    for model in (*STANDARD_MODELS, *VISION_MODELS)
    if model.sglang_obstacle.startswith("SGLang")
}
DOCUMENTED = {model.architecture for model in (*GGUF_MODELS, *STANDARD_MODELS, *VISION_MODELS)}
TRIED = {architecture.architecture for architecture in ARCHITECTURES}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def registered() -> dict[str, str]:
    """Which code runs each architecture; about 20 s of imports."""
    output = await run_python("registry", *sorted(DOCUMENTED | TRIED | {MADE_UP}))
    answers: dict[str, str] = json.loads(output.splitlines()[-1])
    return answers


async def test_documented_architectures(registered: dict[str, str], results: Results) -> None:
    """Every documented id and family is registered, but for the named exceptions."""
    for name in sorted(DOCUMENTED | TRIED):
        results.add("registry", name, registered[name])
    by_code = {
        code: {name for name in DOCUMENTED | TRIED if registered[name] == code}
        for code in ("sglang", "transformers", "none")
    }
    assert by_code["transformers"] == BY_TRANSFORMERS
    assert by_code["none"] == NOT_AT_ALL


async def test_made_up_name(registered: dict[str, str]) -> None:
    """The test above would notice: a name that nobody uses has no code."""
    assert registered[MADE_UP] == "none"
