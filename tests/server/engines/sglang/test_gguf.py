"""GGUF files for SGLang on a GPU: which it can run, and what is put beside them."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tokenwire.server.contract.engine_settings import (
    Device,
    EngineSettings,
    ModelFiles,
    ModelFormat,
)
from tokenwire.server.contract.errors import ModelLoadFailed
from tokenwire.server.engines.sglang.front.convert import LLAMA3_ROPE, llama3_rope
from tokenwire.server.engines.sglang.front.converted import provide_described
from tokenwire.server.engines.sglang.front.launcher import SglangLauncher
from tokenwire.server.engines.sglang.plan.checkpoint import Checkpoint, read_checkpoint
from tokenwire.server.engines.sglang.plan.gguf_architectures import (
    LOADABLE,
    can_load_gguf,
    configuration_overrides,
    find_gguf_obstacle,
    read_overrides,
)
from tokenwire.server.engines.sglang.plan.refusals import find_refusal

PROBE = Path(__file__).parent / "probe.py"
ON_GPU = EngineSettings(Device.CUDA, max_running=4)
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


def is_link_to(link: Path, file: Path) -> bool:
    return link.is_symlink() and link.samefile(file)


def gguf_files(path: Path) -> ModelFiles:
    return ModelFiles("owner/model:file.gguf", ModelFormat.GGUF, path)


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "qwen3moe"])
def test_loadable(architecture: str) -> None:
    """SGLang runs the architectures of its table."""
    assert can_load_gguf(architecture)
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


async def test_file_is_described(
    gguf_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file gets a folder with its tokenizer and a configuration that SGLang computes right with.

    Without `rope_is_neox_style` SGLang answers nonsense for the Llama family.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    files = gguf_files(gguf_file)
    overrides = configuration_overrides(read_checkpoint(files).architecture)
    steps: list[str] = []
    described = await provide_described(files, overrides, lambda p: steps.append(p.step))
    assert is_link_to(described.path, gguf_file)
    folder = described.path.parent
    assert described.tokenizer == folder
    assert (folder / "tokenizer.json").is_file()
    config = json.loads((folder / "config.json").read_bytes())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert read_overrides(folder)["rope_is_neox_style"] is False
    # The second time nothing is made.
    steps.clear()
    assert await provide_described(files, overrides, lambda p: steps.append(p.step)) == described
    assert len(steps) == 1


async def test_launcher_refuses_what_sglang_cannot_read(gguf_file: Path, tmp_path: Path) -> None:
    """A file in parts is refused before a process is started, with what to do."""
    first = tmp_path / "m-00001-of-00002.gguf"
    first.symlink_to(gguf_file)
    first.with_name("m-00002-of-00002.gguf").symlink_to(gguf_file)
    assert find_refusal(gguf_files(gguf_file), ON_GPU) is None
    with pytest.raises(ModelLoadFailed, match="one part only: use LLM_ENGINE=llamacpp"):
        await SglangLauncher(gguf_files(first), ON_GPU).launch(lambda _: None)


def llama3_factors(factor: float) -> list[float]:
    """What llama.cpp's converter writes for Llama 3.1 and later: 64 frequencies, base 500,000."""
    factors = []
    for index in range(64):
        wavelength = 2 * math.pi * 500_000 ** (index / 64)
        smooth = (8192 / wavelength - 1) / 3
        if wavelength < 8192 / 4:
            factors.append(1.0)
        elif wavelength > 8192:
            factors.append(factor)
        else:
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return factors


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_llama3_rope_is_found(factor: float) -> None:
    """The factors of a file become the parameters that they were computed from."""
    config: Any = SimpleNamespace(rope_parameters={"rope_theta": 500_000.0})
    parameters = llama3_rope(config, llama3_factors(factor))
    assert parameters == {
        "rope_type": "llama3",
        "rope_theta": 500_000.0,
        "factor": factor,
        **LLAMA3_ROPE,
    }


def test_unknown_rope_is_refused() -> None:
    """Factors that no known rule gives are an error: prompts would be answered wrongly."""
    config: Any = SimpleNamespace(rope_parameters={"rope_theta": 500_000.0})
    with pytest.raises(SystemExit, match="not known"):
        llama3_rope(config, [1.0, 2.0, 3.0, 8.0])
