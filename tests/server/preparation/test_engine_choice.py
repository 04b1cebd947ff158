from __future__ import annotations

import pytest
from tokenwire.server.contract.engine_settings import Device
from tokenwire.server.contract.model_id import DEFAULT_MODEL, ModelId
from tokenwire.server.engines.kit import NoEngine
from tokenwire.server.preparation.engine_choice import (
    Machine,
    choose_engine,
    inspect_machine,
)
from tokenwire.server.settings.model_settings import AUTO, DeviceChoice

GGUF = ModelId.parse("o/r:f.gguf")
SAFETENSORS = ModelId.parse("o/r")
LLAMACPP, SGLANG = "llamacpp", "sglang"
BOTH = frozenset({LLAMACPP, SGLANG})
CPU, CUDA = Device.CPU, Device.CUDA


@pytest.mark.parametrize(
    ("model", "has_gpu", "installed", "engine", "device"),
    [
        (GGUF, False, BOTH, LLAMACPP, CPU),
        (GGUF, True, BOTH, SGLANG, CUDA),
        (GGUF, True, {LLAMACPP}, LLAMACPP, CPU),
        (ModelId.parse("o/r:f.gguf+mmproj.gguf"), True, BOTH, LLAMACPP, CPU),
        (SAFETENSORS, False, BOTH, SGLANG, CPU),
        (SAFETENSORS, True, BOTH, SGLANG, CUDA),
        (SAFETENSORS, False, {LLAMACPP}, SGLANG, CPU),
        (DEFAULT_MODEL, False, BOTH, LLAMACPP, CPU),
        (DEFAULT_MODEL, True, BOTH, SGLANG, CUDA),
        (DEFAULT_MODEL, True, {LLAMACPP}, LLAMACPP, CPU),
        (DEFAULT_MODEL, False, {SGLANG}, SGLANG, CPU),
        (DEFAULT_MODEL, False, set(), LLAMACPP, CPU),
        (DEFAULT_MODEL, True, set(), SGLANG, CUDA),
    ],
)
def test_auto(
    model: ModelId, has_gpu: bool, installed: set[str], engine: str, device: Device
) -> None:
    """Format, GPU and what is installed decide, as the table of the design says."""
    machine = Machine(has_gpu, frozenset(installed))
    decision = choose_engine(model, AUTO, DeviceChoice.AUTO, machine)
    assert (decision.kit.kind, decision.device) == (engine, device)
    assert decision.reason
    assert bool(decision.missing) == (engine not in installed)


def test_a_missing_engine_is_told_with_its_extra() -> None:
    """The message names the extra, and which kind of id would run without it."""
    machine = Machine(has_gpu=False, installed=frozenset({LLAMACPP}))
    decision = choose_engine(SAFETENSORS, AUTO, DeviceChoice.AUTO, machine)
    assert decision.kit.kind == "sglang"
    assert "tokenwire[sglang]" in decision.missing
    assert "owner/repo:file.gguf" in decision.missing


def test_asked_for_engine_wins() -> None:
    """LLM_ENGINE picks the engine of the built-in model, also where another would be first."""
    no_gpu, gpu = Machine(False, BOTH), Machine(True, BOTH)
    sglang = choose_engine(DEFAULT_MODEL, SGLANG, DeviceChoice.AUTO, no_gpu)
    assert (sglang.kit.kind, sglang.device) == (SGLANG, CPU)
    llama = choose_engine(DEFAULT_MODEL, LLAMACPP, DeviceChoice.AUTO, gpu)
    assert (llama.kit.kind, llama.device) == (LLAMACPP, CPU)


def test_asked_for_cpu_wins() -> None:
    """LLM_DEVICE=cpu leaves a GPU alone."""
    decision = choose_engine(GGUF, AUTO, DeviceChoice.CPU, Machine(True, BOTH))
    assert (decision.kit.kind, decision.device) == (LLAMACPP, CPU)


@pytest.mark.parametrize(
    ("model", "engine", "device", "has_gpu", "message"),
    [
        (SAFETENSORS, LLAMACPP, DeviceChoice.AUTO, False, "reads GGUF files only"),
        (GGUF, SGLANG, DeviceChoice.AUTO, False, "LLM_ENGINE=llamacpp"),
        (GGUF, SGLANG, DeviceChoice.CPU, True, "LLM_ENGINE=llamacpp"),
        (GGUF, AUTO, DeviceChoice.CUDA, False, "no NVIDIA GPU"),
        (GGUF, LLAMACPP, DeviceChoice.CUDA, True, "computes on CPU"),
    ],
)
def test_what_cannot_be_had(
    model: ModelId, engine: str, device: DeviceChoice, has_gpu: bool, message: str
) -> None:
    """A combination that no engine runs says what to change."""
    with pytest.raises(NoEngine, match=message):
        choose_engine(model, engine, device, Machine(has_gpu, BOTH))


def test_installed_engines_are_found() -> None:
    """The engine of this test environment is seen without importing it."""
    assert LLAMACPP in inspect_machine().installed


def test_projector_on_sglang() -> None:
    """A projector is llama.cpp's: asked for on SGLang, it is refused with what to do."""
    model = ModelId.parse("o/r:f.gguf+mmproj.gguf")
    with pytest.raises(NoEngine, match="reads no projector"):
        choose_engine(model, SGLANG, DeviceChoice.AUTO, Machine(True, BOTH))
