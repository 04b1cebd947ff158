"""Converts a GGUF file to a folder of safetensors: run with `-m`, the folder and the file.

With a third word, a JSON object, the folder gets configuration and tokenizer alone; the object is
what the configuration is to say beside what the file does.

A process of its own, because it needs torch and transformers, and much memory for a short time.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any


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
    config.update(overrides)
    tokenizer.save_pretrained(target)
    config.save_pretrained(target)


def _say(step: str) -> None:
    print(step, flush=True)  # the launcher shows these lines as progress


if __name__ == "__main__":
    folder, file, *rest = sys.argv[1:]
    if rest:
        describe(Path(file), Path(folder), json.loads(rest[0]))
    else:
        convert(Path(file), Path(folder))
