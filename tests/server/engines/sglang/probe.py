"""Asks SGLang's own argument code, with a GPU pretended; a process of its own, run as a script.

Reads one JSON object a line and answers with one: `{"words": […]}` is parsed as `LLM_SGLANG_ARGS`,
`{"arguments": {…}}` is resolved as on a machine with two H200, `{"model_type": …}` is asked for the
tensors that the GGUF loader knows of such a model with two layers.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import json
import os
import sys
import types
from collections.abc import Sequence
from typing import Any
from unittest.mock import MagicMock

GIB = 1 << 30
TINY = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "moe_intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "vocab_size": 128,
}


class PretendedKernels(types.ModuleType):
    """Has every name: SGLang imports its kernels by name, and resolution calls none."""

    __path__: Sequence[str] = []
    __version__ = "0.4.10"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = MagicMock(name=name)
        setattr(self, name, value)
        return value


class KernelFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives `PretendedKernels` for `sgl_kernel`, whose real files need a driver to load."""

    def find_spec(self, name: str, *_: object) -> Any:
        if name.partition(".")[0] != "sgl_kernel":
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return PretendedKernels(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Has nothing to run."""


def pretend_gpus() -> None:
    """Lets torch say that there are two H200, to this process alone."""
    import torch

    properties = types.SimpleNamespace(
        name="NVIDIA H200", major=9, minor=0, total_memory=141 * GIB, multi_processor_count=132
    )
    pretended: dict[str, Any] = {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: 2,
        "current_device": lambda: 0,
        "get_device_capability": lambda *_: (9, 0),
        "get_device_name": lambda *_: "NVIDIA H200",
        "get_device_properties": lambda *_: properties,
        "mem_get_info": lambda *_: (140 * GIB, 141 * GIB),
        "set_device": lambda *_: None,
        "synchronize": lambda *_: None,
        "empty_cache": lambda: None,
    }
    for name, value in pretended.items():
        setattr(torch.cuda, name, value)


def answer(case: dict[str, Any]) -> dict[str, Any]:
    from tokenwire.server.engines.sglang.host.extra_arguments import parse_extra_arguments
    from tokenwire.server.engines.sglang.host.internals import (
        VERSION,
        ServerArgs,
        argument_names,
        resolved_argument,
    )
    from tokenwire.server.engines.sglang.versions import fit_arguments

    names = argument_names()
    try:
        if "model_type" in case:
            return mapped_tensors(case["model_type"])
        if "words" in case:
            given = parse_extra_arguments(ServerArgs, case["words"], names)
            return {"given": {name: repr(value) for name, value in given.items()}}
        fitted = fit_arguments(case["arguments"], names, VERSION)
        server_args = ServerArgs(**fitted.arguments)
        if hasattr(server_args, "resolve_once"):
            server_args.resolve_once()
        server_args.check_server_args()
        resolved = {name: repr(resolved_argument(server_args, name)) for name in names}
        return {"resolved": resolved, "left_out": fitted.left_out}
    except Exception as error:  # noqa: BLE001 - whatever SGLang raises is the answer
        return {"error": f"{type(error).__name__}: {error}"}


def mapped_tensors(model_type: str) -> dict[str, Any]:
    """What SGLang's loader maps, and what the package gguf says there is in such a file."""
    import gguf
    from sglang.srt.model_loader.loader import GGUFModelLoader
    from transformers import AutoConfig

    config = AutoConfig.for_model(model_type, **TINY)
    model_config = types.SimpleNamespace(hf_config=config)
    loader = GGUFModelLoader.__new__(GGUFModelLoader)
    mapped = loader._get_gguf_weights_map(model_config)
    name = {"qwen3_moe": "qwen3moe"}.get(model_type, model_type)
    (kind,) = (kind for kind, known in gguf.MODEL_ARCH_NAMES.items() if known == name)
    templates = [gguf.TENSOR_NAMES[tensor] for tensor in gguf.MODEL_TENSORS[kind]]
    in_file = {text.format(bid=layer) for text in templates for layer in range(2)}
    return {"mapped": sorted(mapped), "in_file": sorted(in_file)}


def main() -> None:
    # What SGLang prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    pretend_gpus()
    sys.meta_path.insert(0, KernelFinder())
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
