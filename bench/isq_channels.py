"""Writes a Llama checkpoint anew with its channels in another order: the same function.

The built-in model comes from a 4-bit file. Quantised again in the same groups of 32 weights it
loses nothing, which says nothing of other models. In another order no group is what it was.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

Tensors = dict[str, torch.Tensor]


def reorder_channels(source: Path, target: Path, seed: int = 0) -> None:
    """Copies the folder `source` to `target`, which must not exist."""
    config = json.loads((source / "config.json").read_bytes())
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.safetensors"))
    tensors = load_file(source / "model.safetensors")
    save_file(_reorder(tensors, config, seed), target / "model.safetensors", {"format": "pt"})


def _reorder(tensors: Tensors, config: dict[str, Any], seed: int) -> Tensors:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randperm(config["hidden_size"], generator=generator)
    num_heads, num_kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    head_size = config["hidden_size"] // num_heads
    result: Tensors = {}
    for name, weight in tensors.items():  # what reads or writes the residual stream
        if name.endswith(("o_proj.weight", "down_proj.weight")) or weight.ndim == 1:
            result[name] = weight[hidden]
        else:
            result[name] = weight[:, hidden]
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        inner = torch.randperm(config["intermediate_size"], generator=generator)
        for part in ("mlp.gate_proj", "mlp.up_proj"):
            result[f"{prefix}{part}.weight"] = result[f"{prefix}{part}.weight"][inner]
        down = f"{prefix}mlp.down_proj.weight"
        result[down] = result[down][:, inner]
        # The order within a head of values is free; several heads of queries share one.
        values = torch.stack(
            [torch.randperm(head_size, generator=generator) for _ in range(num_kv_heads)]
        )
        rows = (values + torch.arange(num_kv_heads)[:, None] * head_size).flatten()
        value = f"{prefix}self_attn.v_proj.weight"
        result[value] = result[value][rows]
        shared = values.repeat_interleave(num_heads // num_kv_heads, dim=0)
        columns = (shared + torch.arange(num_heads)[:, None] * head_size).flatten()
        out = f"{prefix}self_attn.o_proj.weight"
        result[out] = result[out][:, columns]
    return {name: weight.contiguous() for name, weight in result.items()}
