"""GGUF files for SGLang on a GPU: which it can run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tokenwire.server.contract.engine_settings import (
    ModelFiles,
    ModelFormat,
)
from tokenwire.server.engines.sglang.plan.checkpoint import Checkpoint
from tokenwire.server.engines.sglang.plan.gguf_architectures import (
    LOADABLE,
    find_gguf_obstacle,
)

PROBE = Path(__file__).parents[1] / "probe.py"


MODEL_TYPES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "qwen3moe": "qwen3_moe"}


# Tensors that SGLang's map leaves out, and why that does no harm.
LEFT_OUT = {
    "rope_freqs": "read by convert.py",
    "attn_rot_embd": "written by no converter since 2023",
    "ffn_gate_inp": "a mixture of the architecture llama is refused; Qwen 3's is mapped",
    "ffn_gate_exps": "refused for llama; the loader's own rule for Qwen 3",
    "ffn_up_exps": "the same",
    "ffn_down_exps": "the same",
}


def gguf_files(path: Path) -> ModelFiles:
    return ModelFiles("owner/model:file.gguf", ModelFormat.GGUF, path)


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "qwen3moe"])
def test_loadable(architecture: str) -> None:
    """SGLang runs the architectures of its table."""
    files = gguf_files(Path("model.gguf"))
    assert find_gguf_obstacle(files, Checkpoint(architecture)) is None


@pytest.mark.parametrize(
    ("name", "checkpoint", "said"),
    [
        ("m.gguf", Checkpoint("gemma2"), "'gemma2'"),
        ("m.gguf", Checkpoint("qwen2moe"), "'qwen2moe'"),
        ("m.gguf", Checkpoint("llama", num_experts=8), "Mixtral"),
        ("m-00001-of-00002.gguf", Checkpoint("llama"), "one part"),
    ],
)
def test_obstacle_is_told(name: str, checkpoint: Checkpoint, said: str) -> None:
    """Every file that SGLang would refuse, or would answer wrongly with, is told why."""
    obstacle = find_gguf_obstacle(gguf_files(Path(name)), checkpoint)
    assert obstacle is not None
    assert said in obstacle


@pytest.mark.parametrize("architecture", LOADABLE)
def test_every_tensor_is_mapped(
    mapped_tensors: dict[str, dict[str, list[str]]], architecture: str
) -> None:
    """SGLang's loader knows every tensor of such a file: it would pass over the others."""
    answer = mapped_tensors[architecture]
    mapped = {name.rpartition(".")[0] for name in answer["mapped"]}
    left_out = {name.rpartition(".")[2] for name in answer["in_file"] if name not in mapped}
    assert left_out <= LEFT_OUT.keys()


@pytest.fixture(scope="module")
def mapped_tensors() -> dict[str, dict[str, list[str]]]:
    """The map that SGLang's own loader makes, for each architecture."""
    done = subprocess.run(
        [sys.executable, str(PROBE)],
        input="\n".join(json.dumps({"model_type": MODEL_TYPES[name]}) for name in LOADABLE),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(zip(LOADABLE, map(json.loads, done.stdout.splitlines()), strict=True))
