"""Converts a GGUF file to a folder of safetensors: run with `-m`, the folder and the file.

With a third word, a JSON object, the folder gets configuration and tokenizer alone; the object is
what the configuration is to say beside what the file does.

A process of its own, because it needs torch and transformers, and much memory for a short time.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

ROPE_FACTORS: Final = "rope_freqs.weight"
LLAMA3_ROPE: Final = {
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
"""The same for Llama 3.1, 3.2 and 3.3 (their `config.json`); the factor is 8 or 32."""


def convert(source: Path, target: Path) -> None:
    """Writes weights in bf16, configuration, tokenizer and chat template to `target`."""
    # Heavy, and only this process needs them; untyped, as they may not be installed.
    torch: Any = import_module("torch")
    transformers: Any = import_module("transformers")
    where: dict[str, Any] = {"gguf_file": source.name}  # keyword arguments of from_pretrained
    _say("reading the tokenizer")
    tokenizer = transformers.AutoTokenizer.from_pretrained(source.parent, **where)
    _say("dequantising the weights")
    # Newer versions keep the weights quantised unless told otherwise.
    if hasattr(transformers, "GgufConfig"):
        where["quantization_config"] = transformers.GgufConfig(dequantize=True)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        source.parent, dtype=torch.bfloat16, **where
    )
    if any("quant" in type(module).__name__.lower() for module in model.modules()):
        raise SystemExit("error: this version of transformers leaves the weights quantised")
    if getattr(model.config, "quantization_config", None) is not None:
        del model.config.quantization_config
    _say("writing safetensors")
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def describe(source: Path, target: Path, overrides: dict[str, Any]) -> None:
    """Writes configuration and tokenizer to `target`."""
    transformers: Any = import_module("transformers")
    auto: Any = import_module("transformers.models.auto.modeling_auto")
    where: dict[str, Any] = {"gguf_file": source.name}
    _say("the tokenizer")
    tokenizer = transformers.AutoTokenizer.from_pretrained(source.parent, **where)
    _say("the configuration")
    config = transformers.AutoConfig.from_pretrained(source.parent, **where)
    if config.model_type == "mistral":
        # By its name alone; the tensors are those of the architecture llama, which is what SGLang
        # looks for.
        values = config.to_dict()
        del values["model_type"]
        config = transformers.LlamaConfig(**values)
    config.architectures = [auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[config.model_type]]
    frequencies = _rope_factors(source)
    if frequencies is not None:
        config.rope_parameters = llama3_rope(config, frequencies)
    config.update(overrides)
    tokenizer.save_pretrained(target)
    config.save_pretrained(target)


def llama3_rope(config: Any, factors: Sequence[float]) -> dict[str, Any]:
    """Finds the parameters of Llama 3's rotary embedding for the factors that a file holds.

    llama.cpp's converter writes the factors of each frequency in their place, and neither
    transformers nor SGLang reads them: long prompts would be answered wrongly.
    """
    base = float(config.rope_parameters["rope_theta"])
    parameters = {
        "rope_type": "llama3",
        "rope_theta": base,
        "factor": round(max(factors), 4),
        **LLAMA3_ROPE,
    }
    expected = _llama3_factors(parameters, len(factors))
    if any(abs(one - other) > 1e-3 * other for one, other in zip(factors, expected, strict=True)):
        raise SystemExit("error: the file scales its rotary embedding in a way that is not known")
    return parameters


def _llama3_factors(parameters: dict[str, Any], count: int) -> list[float]:
    # As `_compute_llama3_parameters` of transformers, and `LlamaModel.generate_extra_tensors` of
    # llama.cpp's converter, compute them.
    low = parameters["original_max_position_embeddings"] / parameters["low_freq_factor"]
    high = parameters["original_max_position_embeddings"] / parameters["high_freq_factor"]
    factors: list[float] = []
    for index in range(count):
        wavelength = 2 * math.pi * parameters["rope_theta"] ** (index / count)
        if wavelength < high:
            factors.append(1.0)
        elif wavelength > low:
            factors.append(parameters["factor"])
        else:
            span = parameters["high_freq_factor"] - parameters["low_freq_factor"]
            smooth = parameters["original_max_position_embeddings"] / wavelength
            smooth = (smooth - parameters["low_freq_factor"]) / span
            factors.append(1 / ((1 - smooth) / parameters["factor"] + smooth))
    return factors


def _rope_factors(source: Path) -> list[float] | None:
    gguf: Any = import_module("gguf")
    for tensor in gguf.GGUFReader(source).tensors:
        if tensor.name == ROPE_FACTORS:
            return [float(value) for value in tensor.data]
    return None


def _say(step: str) -> None:
    print(step, flush=True)  # the launcher shows these lines as progress


if __name__ == "__main__":
    folder, file, *rest = sys.argv[1:]
    if rest:
        describe(Path(file), Path(folder), json.loads(rest[0]))
    else:
        convert(Path(file), Path(folder))
    # Everything is on the disk. The package sentencepiece, which gguf imports, may crash Python
    # while it ends, and the launcher would take that for a failure.
    sys.stdout.flush()
    os._exit(0)
