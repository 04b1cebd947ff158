"""Which GGUF files SGLang loads and computes right; llama.cpp runs the others.

SGLang's loader takes a file only where transformers reads its configuration and the `model_type`
found there is the architecture's name in the package gguf (`GGUFModelLoader`). It loads tensors as
they are in the file, which is not enough where llama.cpp's converter has changed them:

- It reorders queries and keys of the Llama family for interleaved rotary embedding. SGLang does
  not know; `rope_is_neox_style` in the configuration tells it. Run on a CPU with the package gguf
  unpacking the weights in place of SGLang's CUDA kernels, SmolLM2-135M Q4_1 then answers "The
  capital of France is Paris.", and nonsense without.
- It writes the factors of Llama 3's rotary embedding as a tensor, which nobody reads here: what is
  put beside the file tells them to SGLang (`convert.py`).
- It adds 1 to the norms of Gemma and Nemotron. SGLang adds 1 again.

Architectures that are not here fail in the loader (Phi-3 MoE, Qwen2 MoE and gpt-oss by their name,
Gemma 3 by that of its text part), would answer wrongly (Gemma 2, Nemotron), or were not tried.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ....contract.engine_settings import ModelFiles
from ....files.formats.gguf_defects import split_names
from .checkpoint import Checkpoint

SAID_BESIDE: Final = ("rope_is_neox_style", "rope_parameters")

LOADABLE: Final[Mapping[str, Mapping[str, Any]]] = {
    # models/llama.py with the override; run.
    "llama": {"rope_is_neox_style": False},
    # models/qwen2.py: SGLang's own test loads a file of Qwen2-1.5B-Instruct.
    "qwen2": {},
    # models/qwen3.py: as Qwen 2, with norms of queries and keys under their standard names.
    "qwen3": {},
    # models/qwen3_moe.py, and the loader's own exception for the name.
    "qwen3moe": {},
}
"""By `general.architecture`: what the model's configuration must say beside what the file does."""


def find_gguf_obstacle(files: ModelFiles, checkpoint: Checkpoint) -> str | None:
    """Returns why SGLang cannot run a GGUF file on a GPU, None where it can."""
    if len(split_names(files.path.name)) > 1:
        # gguf_quant_weights_iterator opens one file, and a tensor that is not in it stays as it is.
        return "SGLang reads GGUF files of one part only"
    if checkpoint.architecture == "llama" and checkpoint.num_experts:
        # The loader maps the names of a dense Llama: the experts would stay as they are.
        return "SGLang cannot load mixtures of experts of the architecture 'llama' (Mixtral)"
    if checkpoint.architecture not in LOADABLE:
        return f"SGLang cannot load GGUF files of the architecture '{checkpoint.architecture}'"
    return None


def read_overrides(folder: Path) -> dict[str, Any]:
    """Reads from the configuration beside a GGUF file what the file itself does not say.

    Raises:
        OSError, ValueError: the configuration, which is the service's own, is not readable.
    """
    config: Any = json.loads((folder / "config.json").read_bytes())
    return {name: config[name] for name in SAID_BESIDE if name in config}
