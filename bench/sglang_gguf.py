"""Runs a GGUF file through SGLang's own loader and model on a CPU, to see whether it answers right.

    python bench/sglang_gguf.py FILE.gguf [--overrides '{"rope_is_neox_style": true}']

SGLang's kernels for GGUF weights need a GPU. A plugin that this program writes for its children
puts the package gguf in their place, which unpacks the weights at each use: slow, for small
models. All else, names of tensors, norms and rotary embedding, is as on a GPU.
`--overrides` are set in the model's configuration; without, it is what the service sets.
Seen on 2026-11-23 with SGLang 0.5.23 and SmolLM2-135M-Instruct Q4_1: "The capital of France is
Paris."; with `rope_is_neox_style` true, which is SGLang's default: "The answer is: The answer is:".
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tokenwire.server.contract.engine_settings import ModelFiles, ModelFormat
from tokenwire.server.engines.sglang.cpu import cpu_environment, offer_kernel_stand_in
from tokenwire.server.engines.sglang.front.converted import provide_described
from tokenwire.server.engines.sglang.plan.checkpoint import read_checkpoint
from tokenwire.server.engines.sglang.plan.gguf_architectures import (
    LOADABLE,
    read_overrides,
)

QUESTION = "What is the capital of France?"
PLUGIN = """
def load():
    import numpy
    import torch
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize
    from sglang.srt.layers.quantization import gguf as kernels

    def unpack(packed, kind, dtype):
        weights = dequantize(packed.numpy(), GGMLQuantizationType(int(kind)))
        return torch.from_numpy(numpy.ascontiguousarray(weights)).to(dtype)

    def multiply(packed, x, kind, rows):
        return x @ unpack(packed, kind, x.dtype).T

    kernels.ggml_dequantize = lambda packed, kind, m, n, dtype: unpack(packed, kind, dtype)
    kernels.ggml_mul_mat_vec_a8 = multiply
    kernels.ggml_mul_mat_a8 = multiply
"""


def write_plugin(folder: Path) -> None:
    """Writes a package with an entry point, which SGLang finds in each of its processes."""
    (folder / "gguf_without_gpu.py").write_text(PLUGIN)
    info = folder / "gguf_without_gpu-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gguf-without-gpu\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[sglang.srt.plugins]\ngguf_without_gpu = gguf_without_gpu:load\n"
    )


def answer(model: Path, overrides: str) -> None:
    """Starts SGLang in this process and prints its answer."""
    offer_kernel_stand_in()
    from sglang.srt.entrypoints.engine import Engine  # noqa: PLC0415 - after the stand-in

    engine = Engine(
        model_path=str(model),
        tokenizer_path=str(model.parent),
        device="cpu",
        dtype="float32",
        max_total_tokens=2048,
        max_running_requests=2,
        json_model_override_args=overrides,
    )
    tokenizer = engine.tokenizer_manager.tokenizer
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": QUESTION}], tokenize=False, add_generation_prompt=True
    )
    result = engine.generate(prompt, {"temperature": 0, "max_new_tokens": 24})
    print(repr(result["text"]), flush=True)
    engine.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--overrides")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        answer(given.file, given.overrides)
        return
    files = ModelFiles(given.file.name, ModelFormat.GGUF, given.file.resolve())
    own = LOADABLE.get(read_checkpoint(files).architecture, {})
    described = asyncio.run(provide_described(files, own, lambda progress: print(progress.step)))
    overrides = given.overrides or json.dumps(read_overrides(described.path.parent))
    with tempfile.TemporaryDirectory() as folder:
        write_plugin(Path(folder))
        environment = os.environ | cpu_environment(None) | {"PYTHONPATH": folder}
        words = [sys.executable, __file__, str(described.path), "--overrides", overrides]
        raise SystemExit(
            subprocess.run([*words, "--inside"], env=environment, check=False).returncode
        )


if __name__ == "__main__":
    main()
