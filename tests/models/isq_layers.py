"""Layers of SGLang's own under our method, without an engine; prints what they came to as JSON."""

from __future__ import annotations

import inspect
import json
import os
from importlib import import_module
from typing import Any

import torch
from tokenwire.server.engines.sglang.cpu import cpu_environment, offer_kernel_stand_in
from tokenwire.server.engines.sglang.isq.request import request_isq


def main() -> None:
    """Loads layers part by part, as a model's loader does."""
    os.environ |= cpu_environment(1)
    offer_kernel_stand_in()
    request_isq("int4")
    torch.manual_seed(0)
    method: Any = import_module("tokenwire.server.engines.sglang.isq.method")
    linear: Any = import_module("sglang.srt.layers.linear")
    vocabulary: Any = import_module("sglang.srt.layers.vocab_parallel_embedding")
    named = {"quant_config": method.Int4Config(), "prefix": "model.layer"}
    names = inspect.signature(linear.QKVParallelLinear.__init__).parameters
    alone = (
        {"parallel_group": "replicated"}
        if "parallel_group" in names
        else {"tp_rank": 0, "tp_size": 1}  # SGLang 0.5.17
    )
    found: dict[str, Any] = {}

    def compare(name: str, layer: Any, x: Any, reference: Any) -> None:
        out, _ = layer(x)
        found[name] = {
            "dtype": str(layer.weight.dtype),
            "shape": list(out.shape),
            "error": float((out - reference).norm() / reference.norm()),
        }

    plain = linear.ReplicatedLinear(64, 96, bias=True, **named)
    weight, bias = torch.randn(96, 64), torch.randn(96)
    plain.weight.weight_loader(plain.weight, weight)
    plain.bias.weight_loader(plain.bias, bias)
    x = torch.randn(2, 3, 64)
    compare("plain", plain, x, x @ weight.t() + bias)

    narrow = linear.ReplicatedLinear(48, 96, bias=False, **named)
    weight = torch.randn(96, 48)
    narrow.weight.weight_loader(narrow.weight, weight)
    x = torch.randn(5, 48)
    compare("narrow", narrow, x, x @ weight.t())

    attention = linear.QKVParallelLinear(64, 16, 4, 2, bias=False, **named, **alone)
    parts = {"q": torch.randn(64, 64), "k": torch.randn(32, 64), "v": torch.randn(32, 64)}
    for part, weight in parts.items():
        assert not hasattr(attention.weight, "packed"), "packed before its last part"
        attention.weight.weight_loader(attention.weight, weight, part)
    x = torch.randn(5, 64)
    compare("merged", attention, x, x @ torch.cat(list(parts.values())).t())

    raw = linear.ReplicatedLinear(64, 96, bias=False, **named | {"prefix": "a.kv_b_proj"})
    found["raw"] = type(raw.quant_method).__name__

    embedding = vocabulary.VocabParallelEmbedding(100, 64, enable_tp=False, **named)
    head = vocabulary.ParallelLMHead(100, 64, enable_tp=False, **named).tie_weights(embedding)
    weight = torch.randn(100, 64)
    embedding.weight.weight_loader(embedding.weight, weight)
    for layer in (embedding, head):
        layer.quant_method.process_weights_after_loading(layer)
    rows = embedding.quant_method.embedding(embedding, torch.tensor([[3, 99]]))
    found["embedding"] = float((rows - weight[[3, 99]]).abs().max())
    logits = head.quant_method.apply(head, weight[:1])
    found["logits"] = int(logits[0, :100].argmax())

    outcome = method.count(torch.nn.ModuleList([plain, attention, raw, embedding, head]))
    found["outcome"] = outcome.as_dict()
    print("\n" + json.dumps(found))


if __name__ == "__main__":
    main()
