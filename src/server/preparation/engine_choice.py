"""Which engine runs a model, decided once for `make run`, `tokenwire serve` and `config`."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass

from ..contract.engine_settings import Device, EngineKind
from ..contract.model_id import DEFAULT_MODEL, GGUF_FORM, ModelId
from ..machine.gpus import Gpu, visible_gpus
from ..settings.model_settings import DeviceChoice, EngineChoice

_MODULES = {EngineKind.SGLANG: "sglang", EngineKind.LLAMACPP: "xllamacpp"}
_NAMES = {EngineKind.SGLANG: "SGLang", EngineKind.LLAMACPP: "llama.cpp"}


class NoEngine(Exception):
    """No engine can run the model as it is configured; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the decision needs to know about this machine."""

    has_gpu: bool
    installed: frozenset[EngineKind]
    gpus: tuple[Gpu, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineDecision:
    """The engine for a model and why, in one line.

    `missing` is empty, or says which extra must be installed first.
    """

    engine: EngineKind
    device: Device
    reason: str
    missing: str = ""

    @property
    def extra(self) -> str:
        """Name of the extra that brings the engine."""
        return self.engine.value

    @property
    def label(self) -> str:
        """Name of the engine as people write it."""
        return _NAMES[self.engine]


def choose_engine(
    model: ModelId, engine: EngineChoice, device: DeviceChoice, machine: Machine
) -> EngineDecision:
    """Decides which engine runs `model` on which device.

    Raises:
        NoEngine: what is asked for cannot be had.
    """
    if device is DeviceChoice.CUDA and not machine.has_gpu:
        raise NoEngine("LLM_DEVICE=cuda, but this machine has no NVIDIA GPU that can be used")
    uses_gpu = machine.has_gpu and device is not DeviceChoice.CPU
    kind, reason = _kind(model, engine, device, machine, uses_gpu)
    on = Device.CUDA if uses_gpu and kind is EngineKind.SGLANG else Device.CPU
    missing = _find_missing(kind, machine)
    if missing and not model.is_gguf and model != DEFAULT_MODEL:
        missing += f", or name a GGUF file ({GGUF_FORM}), which runs on llama.cpp"
    return EngineDecision(kind, on, reason, missing)


def decide_llama_cpp(reason: str, machine: Machine) -> EngineDecision:
    """Decides for llama.cpp, on the CPU, for a reason that only the model's files tell."""
    kind = EngineKind.LLAMACPP
    return EngineDecision(kind, Device.CPU, reason, _find_missing(kind, machine))


def _find_missing(kind: EngineKind, machine: Machine) -> str:
    if kind in machine.installed:
        return ""
    return (
        f"{_NAMES[kind]} is not installed: install the extra '{kind.value}' "
        f"(pip install 'tokenwire[{kind.value}]')"
    )


def _kind(
    model: ModelId,
    engine: EngineChoice,
    device: DeviceChoice,
    machine: Machine,
    uses_gpu: bool,
) -> tuple[EngineKind, str]:
    is_default = model == DEFAULT_MODEL
    place = "a GPU" if uses_gpu else "a CPU"
    if engine is EngineChoice.LLAMACPP:
        if not (model.is_gguf or is_default):
            raise NoEngine(
                f"LLM_ENGINE=llamacpp, but llama.cpp reads GGUF files only and '{model}' names "
                f"none: use an id of the form {GGUF_FORM}, or LLM_ENGINE=sglang"
            )
        if device is DeviceChoice.CUDA:
            raise NoEngine(
                "LLM_ENGINE=llamacpp computes on CPU, not on LLM_DEVICE=cuda: change one of them"
            )
        return EngineKind.LLAMACPP, "LLM_ENGINE asks for it"
    if engine is EngineChoice.SGLANG:
        if model.is_gguf and not uses_gpu:
            raise NoEngine(
                f"LLM_ENGINE=sglang, but SGLang reads GGUF files on a GPU only and '{model}' would "
                "run on a CPU: use LLM_ENGINE=llamacpp, or an id of the form owner/repo"
            )
        return EngineKind.SGLANG, "LLM_ENGINE asks for it"
    if is_default:
        first = EngineKind.SGLANG if uses_gpu else EngineKind.LLAMACPP
        second = EngineKind.LLAMACPP if uses_gpu else EngineKind.SGLANG
        has_only_second = first not in machine.installed and second in machine.installed
        if has_only_second and not (device is DeviceChoice.CUDA and uses_gpu):
            return second, f"the built-in model runs on what is installed: {_NAMES[second]}"
        return first, f"the built-in model runs on {_NAMES[first]} where there is {place}"
    if not model.is_gguf:
        return EngineKind.SGLANG, "it runs safetensors weights"
    if not uses_gpu:
        return EngineKind.LLAMACPP, "it runs GGUF files on a CPU"
    only_llamacpp = machine.installed == frozenset({EngineKind.LLAMACPP})
    if only_llamacpp and device is DeviceChoice.AUTO:
        return (
            EngineKind.LLAMACPP,
            "it runs GGUF files on the CPU; the GPU is idle until the extra 'sglang' is installed",
        )
    return EngineKind.SGLANG, "it runs GGUF files on a GPU"


def inspect_machine(environment: Mapping[str, str] = os.environ) -> Machine:
    """Looks at this machine without loading an engine."""
    gpus = visible_gpus(environment)
    return Machine(has_gpu=bool(gpus), installed=installed_engines(), gpus=gpus)


def installed_engines() -> frozenset[EngineKind]:
    """Returns the engines whose package is installed."""
    return frozenset(
        kind for kind, module in _MODULES.items() if importlib.util.find_spec(module) is not None
    )
