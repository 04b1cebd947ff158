"""Architectures that SGLang does not compute right, or not on every device.

Each was seen with 0.5.23 in a run of a small checkpoint on a CPU, unless it says otherwise. Lists,
because nothing in SGLang tells it: its classes are there, and fail or err where they compute.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ....contract.engine_settings import Device

_LATENT: Final = "multi-head latent attention, whose kernels need a GPU"

NO_CLASS: Final = frozenset({"Phi3VForCausalLM"})
"""Architectures of known checkpoints for which neither SGLang nor transformers has a class: it lies
beside the weights as a program, and programs of others are not run."""

NEEDS_GPU: Final[Mapping[str, str]] = {
    "DeepseekV2ForCausalLM": _LATENT,
    "DeepseekV3ForCausalLM": _LATENT,
    "Glm4MoeLiteForCausalLM": _LATENT,
    "Gemma3nForCausalLM": "a KV cache that SGLang cannot lay out on a CPU",
    "Gemma3nForConditionalGeneration": "a KV cache that SGLang cannot lay out on a CPU",
    "GraniteMoeHybridForCausalLM": "state space layers, whose kernels need a GPU",
}
"""What these have that makes the engine die on a CPU, at its start or at its first request."""

_INACCURATE: Final[Mapping[str, str]] = {
    # models/phi.py gives the output layer to the logits processor without its bias; on a GPU, too.
    "PhiForCausalLM": "SGLang leaves out the bias of its output layer, so that its answers are "
    "worse; a GGUF file of it on llama.cpp is computed right",
}
_INACCURATE_ON_CPU: Final[Mapping[str, str]] = {
    "Gemma2ForCausalLM": "on a CPU SGLang leaves out the soft cap of its attention, so that its "
    "answers may be worse; a GGUF file of it on llama.cpp is computed right",
}


def find_architecture_refusal(architecture: str, device: Device) -> str | None:
    """Returns why SGLang cannot run an architecture on a device, None where it can."""
    if architecture in NO_CLASS:
        return f"it is of the architecture {architecture}, which SGLang does not have"
    if device is Device.CPU and architecture in NEEDS_GPU:
        return (
            f"its architecture, {architecture}, has {NEEDS_GPU[architecture]}: use a GPU, or a "
            "GGUF file of it, which runs on llama.cpp"
        )
    return None


def find_architecture_notice(architecture: str, device: Device) -> str:
    """Says what SGLang computes otherwise than the model was trained; empty where nothing."""
    reason = _INACCURATE.get(architecture, "")
    if device is Device.CPU:
        reason = reason or _INACCURATE_ON_CPU.get(architecture, "")
    return reason and f"the model is of the architecture {architecture}: {reason}"
