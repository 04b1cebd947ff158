"""Every model id of the documentation means the same as ever."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenwire.server.contract.engine_settings import Device, ModelFiles, ModelFormat
from tokenwire.server.contract.model_id import ModelId
from tokenwire.server.engines.sglang.plan.checkpoint import Checkpoint
from tokenwire.server.engines.sglang.plan.gguf_architectures import find_gguf_obstacle
from tokenwire.server.preparation.engine_choice import Machine, choose_engine
from tokenwire.server.settings.model_settings import AUTO, DeviceChoice

from ...models.documented import GGUF_MODELS, STANDARD_MODELS, VISION_MODELS, DocumentedModel

BOTH = frozenset({"sglang", "llamacpp"})
ALL_MODELS = (*GGUF_MODELS, *STANDARD_MODELS, *VISION_MODELS)
SAFETENSORS_MODELS = (*STANDARD_MODELS, *VISION_MODELS)
PAGE = Path(__file__).parents[3] / "docs" / "models.md"


def _choose(model: DocumentedModel, has_gpu: bool) -> tuple[str, Device, str]:
    decision = choose_engine(
        ModelId.parse(model.model_id), AUTO, DeviceChoice.AUTO, Machine(has_gpu, BOTH)
    )
    return decision.kit.kind, decision.device, decision.missing


def _names(model: object) -> str:
    return model.model_id if isinstance(model, DocumentedModel) else ""


@pytest.mark.parametrize("model", ALL_MODELS, ids=_names)
def test_id_is_read(model: DocumentedModel) -> None:
    """A documented id is read whole: repository and file come out as they went in."""
    repo, _, file = model.model_id.partition(":")
    parsed = ModelId.parse(model.model_id)
    assert (parsed.repo, parsed.file or "", str(parsed)) == (repo, file, model.model_id)


@pytest.mark.parametrize("model", GGUF_MODELS, ids=_names)
def test_gguf_engine(model: DocumentedModel) -> None:
    """A documented GGUF file goes to SGLang on a GPU and to llama.cpp on a CPU."""
    assert _choose(model, has_gpu=True) == ("sglang", Device.CUDA, "")
    assert _choose(model, has_gpu=False) == ("llamacpp", Device.CPU, "")


@pytest.mark.parametrize("model", GGUF_MODELS, ids=_names)
def test_gguf_that_sglang_cannot_load(model: DocumentedModel) -> None:
    """On a GPU, SGLang keeps the files of the architectures it loads; llama.cpp gets the others."""
    files = ModelFiles(model.model_id, ModelFormat.GGUF, Path("file.gguf"))
    num_experts = 8 if model.architecture == "MixtralForCausalLM" else 0
    obstacle = find_gguf_obstacle(files, Checkpoint(model.gguf, num_experts=num_experts))
    assert (obstacle is None) == (model.gpu_engine == "sglang")


@pytest.mark.parametrize("model", SAFETENSORS_MODELS, ids=_names)
def test_safetensors_engine(model: DocumentedModel) -> None:
    """A documented repository goes to SGLang; the built-in model alone to llama.cpp on a CPU."""
    is_built_in = model.model_id == "HuggingFaceTB/SmolLM2-135M-Instruct"
    on_cpu = "llamacpp" if is_built_in else "sglang"
    assert _choose(model, has_gpu=True) == ("sglang", Device.CUDA, "")
    assert _choose(model, has_gpu=False) == (on_cpu, Device.CPU, "")


@pytest.mark.parametrize("model", ALL_MODELS, ids=_names)
def test_id_is_on_the_page(model: DocumentedModel) -> None:
    """docs/models.md lists every documented id with its architecture."""
    line = next(line for line in PAGE.read_text().splitlines() if f"`{model.model_id}`" in line)
    assert f"`{model.architecture}`" in line
    assert model.gguf in line
