"""The same weight-only layers as `isq.py`, in transformers and in one process.

    python bench/isq_linear.py [--rounds 5] [--tokens 32] [--threads 1]

All ways are in memory at once and decode in turn within each round, so that their ratios hardly
depend on what else the machine does; SGLang cannot change its weights while it runs. Perplexity is
that of `isq_text.txt`; "reordered" is the same model with its channels in another order
(`isq_channels.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import math
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from isq_channels import reorder_channels
from tokenwire.server.contract.engine_settings import ModelFiles, ModelFormat
from tokenwire.server.contract.model_id import DEFAULT_MODEL
from tokenwire.server.engines.sglang.front.converted import provide_converted
from tokenwire.server.engines.sglang.isq.quantized_linear import Int4Weight, Int8Weight, Workspace
from transformers import AutoModelForCausalLM, AutoTokenizer
from unpacking import built_in_file

TEXT = Path(__file__).parent / "isq_text.txt"
WAYS = {
    "bfloat16": (torch.bfloat16, ""),
    "float32": (torch.float32, ""),
    "int8": (torch.float32, "int8"),
    "int4": (torch.float32, "int4"),
    "int8 in bfloat16": (torch.bfloat16, "int8"),
    "int4 in bfloat16": (torch.bfloat16, "int4"),
}


class Packed(torch.nn.Module):
    """A linear layer with packed weights; with `is_embedding`, a table of rows."""

    def __init__(self, weight: Any, *, is_embedding: bool = False) -> None:
        super().__init__()
        self.packed, self.is_embedding = weight, is_embedding

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.is_embedding:
            return self.packed.rows(x)
        return self.packed.multiply(x.reshape(-1, x.shape[-1])).view(*x.shape[:-1], -1)


def load(folder: Path, dtype: torch.dtype, isq: str) -> tuple[Any, int]:
    """Loads the model, packs what SGLang's method packs, and counts the bytes of its weights."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    num_bytes = sum(weight.nbytes for weight in model.parameters())
    if not isq:
        return model, num_bytes
    workspace = Workspace()
    table = model.model.embed_tokens.weight.data
    embedding = Int8Weight.pack(table, workspace)
    num_bytes += embedding.num_bytes - table.nbytes
    model.model.embed_tokens = Packed(embedding, is_embedding=True)
    model.lm_head = Packed(embedding)
    for name, layer in list(model.model.named_modules()):
        if isinstance(layer, torch.nn.Linear):
            weight = layer.weight.data
            packed = (
                Int4Weight.pack(weight) if isq == "int4" else Int8Weight.pack(weight, workspace)
            )
            num_bytes += packed.num_bytes - weight.nbytes
            parent, _, own = name.rpartition(".")
            setattr(model.model.get_submodule(parent), own, Packed(packed))
    return model, num_bytes


@torch.inference_mode()
def perplexity(model: Any, ids: torch.Tensor) -> tuple[float, float]:
    """Returns it, and the seconds of the one forward pass."""
    start_s = time.perf_counter()
    logprobs = model(input_ids=ids).logits[0].float().log_softmax(-1)
    passed_s = time.perf_counter() - start_s
    return math.exp(-logprobs[:-1].gather(1, ids[0, 1:, None]).mean()), passed_s


@torch.inference_mode()
def decode_speed(model: Any, ids: torch.Tensor, num_tokens: int) -> float:
    """Decodes greedily behind 8 tokens; tokens per second after the first."""
    out = model(input_ids=ids[:, :8], use_cache=True)
    token, cache = out.logits[:, -1:].argmax(-1), out.past_key_values
    start_s = time.perf_counter()
    for _ in range(num_tokens):
        out = model(input_ids=token, past_key_values=cache, use_cache=True)
        token = out.logits[:, -1:].argmax(-1)
    return num_tokens / (time.perf_counter() - start_s)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    built_in = ModelFiles(DEFAULT_MODEL.repo, ModelFormat.GGUF, built_in_file())
    folder = asyncio.run(provide_converted(built_in, lambda _: None)).path
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = torch.tensor([tokenizer(TEXT.read_text()).input_ids])
    models = {name: load(folder, *way) for name, way in WAYS.items()}
    speeds: dict[str, list[float]] = {name: [] for name in WAYS}
    for model, _ in models.values():
        decode_speed(model, ids, 4)  # warm-up
    for _ in range(options.rounds):
        for name, (model, _) in models.items():
            speeds[name].append(decode_speed(model, ids, options.tokens))

    def ratio(name: str, base: str) -> str:
        pairs = zip(speeds[name], speeds[base], strict=True)
        ratios = [one / other for one, other in pairs]
        return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"

    print("| way | weights, MB | to bfloat16 | to float32 | tokens/s | forward, s | perplexity |")
    print("|" + " --- |" * 7)
    for name, (model, num_bytes) in models.items():
        value, forward_s = perplexity(model, ids)
        print(
            f"| {name} | {num_bytes / 1e6:.0f} | {ratio(name, 'bfloat16')} | "
            f"{ratio(name, 'float32')} | {statistics.median(speeds[name]):.1f} | {forward_s:.1f} | "
            f"{value:.2f} |"
        )
    models.clear()
    with tempfile.TemporaryDirectory() as temporary:
        reordered = Path(temporary) / "reordered"
        reorder_channels(folder, reordered)
        for name in ("float32", "int8", "int4"):
            value, _ = perplexity(load(reordered, *WAYS[name])[0], ids)
            print(f"{name}, reordered: perplexity {value:.2f}")


if __name__ == "__main__":
    main()
