"""From a model id to a launcher."""

from __future__ import annotations

import json
import mmap
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tokenwire.server.contract.engine_settings import Device, EngineSettings, ModelFiles
from tokenwire.server.contract.errors import ModelLoadFailed
from tokenwire.server.contract.model_id import ModelId
from tokenwire.server.engines.kit import read_settings
from tokenwire.server.engines.llama_cpp.kit import LlamaCppKit
from tokenwire.server.engines.sglang.front import launcher
from tokenwire.server.engines.sglang.front.host_process import HostProcess
from tokenwire.server.engines.sglang.kit import SglangKit, SglangPlan
from tokenwire.server.engines.sglang.settings import SglangSettings
from tokenwire.server.files.model_finder import ModelFinder
from tokenwire.server.machine.gpus import Gpu
from tokenwire.server.models.model_state import PreparedModel
from tokenwire.server.preparation.engine_choice import EngineDecision
from tokenwire.server.preparation.preparation import PlacedLauncher, Preparation, not_honoured

from ..files.test_lora_finder import write_adapter
from ..files.weight_files import LLAMA, gguf
from ..fronts import make_config
from ..machine.nvml import answer_as

LLAMACPP = EngineDecision(LlamaCppKit(), Device.CPU, "")
SGLANG_CPU = EngineDecision(SglangKit(), Device.CPU, "")
SGLANG_GPU = EngineDecision(SglangKit(), Device.CUDA, "")


@pytest.mark.parametrize(
    ("values", "decision", "variable"),
    [
        ({"LLM_PAGED_CACHE_TYPE": "f8e4m3"}, LLAMACPP, "LLM_PAGED_CACHE_TYPE=f8e4m3"),
        ({"LLM_PAGED_CACHE_TYPE": "fp8"}, SGLANG_CPU, "LLM_PAGED_CACHE_TYPE=fp8"),
        ({"LLM_PAGED_ATTENTION_BLOCK_SIZE": "16"}, LLAMACPP, "LLM_PAGED_ATTENTION_BLOCK_SIZE"),
        ({"LLM_ENABLE_ISQ": "true"}, LLAMACPP, "LLM_ENABLE_ISQ is not needed"),
        ({"LLM_ISQ_TYPE": "Q4_K"}, LLAMACPP, "LLM_ISQ_TYPE does nothing without LLM_ENABLE_ISQ"),
        ({"LLM_ISQ_TYPE": "Q4_K"}, SGLANG_GPU, "LLM_ISQ_TYPE does nothing without LLM_ENABLE_ISQ"),
        ({"LLM_MAX_LORA_RANK": "8"}, LLAMACPP, "LLM_MAX_LORA_RANK: only SGLang reads this"),
        ({"LLM_LORA_ADAPTERS": "x=a/b"}, LLAMACPP, "LLM_LORA_ADAPTERS needs SGLang on a GPU"),
        ({"LLM_TP_SIZE": "2", "LLM_PP_SIZE": "2"}, LLAMACPP, "LLM_PP_SIZE, LLM_TP_SIZE: only"),
    ],
)
def test_what_an_engine_cannot_honour_is_told(
    values: dict[str, Any], decision: EngineDecision, variable: str
) -> None:
    """A variable that is set and means nothing to the engine is named at the start."""
    (notice,) = not_honoured(make_config(**values), decision)
    assert variable in notice


def test_what_an_engine_honours_is_not_told() -> None:
    """Nothing is said of variables that are in force, or not set."""
    values = {"LLM_PAGED_CACHE_TYPE": "f8e4m3", "LLM_PAGED_ATTENTION_BLOCK_SIZE": "16"}
    assert not_honoured(make_config(**values), SGLANG_GPU) == []
    assert not_honoured(make_config(), LLAMACPP) == []


def test_settings_of_the_engine_follow_the_configuration() -> None:
    """What an engine needs to know is taken from the configuration as it stands."""
    config = make_config(
        LLM_MAX_CONCURRENT_REQUESTS="3",
        LLM_MAX_MODEL_LEN="777",
        LLM_ENABLE_PREFIX_CACHING="true",
        LLM_PAGED_CACHE_TYPE="fp8",
    )
    settings = read_settings(EngineSettings, config, Device.CUDA)
    assert settings.max_running == 3
    assert settings.max_model_len == 777
    assert settings.prefix_caching
    assert settings.fp8_kv_cache
    assert settings.kv_pool_tokens is None


async def test_a_model_no_engine_runs_fails_with_what_to_do() -> None:
    """An id that the chosen engine cannot read fails to load, and the error says what can."""
    config = make_config(LLM_ENGINE="llamacpp", LLM_DEVICE="cpu")
    with pytest.raises(ModelLoadFailed, match="GGUF"):
        await Preparation(config).prepare("owner/repo", lambda _: None)


def write_model(folder: Path, weight_bytes: int) -> None:
    """A checkpoint with the shape of Llama 3.1 8B whose weights have this size, as a hole."""
    folder.mkdir(parents=True)
    config = {"architectures": ["LlamaForCausalLM"], "num_attention_heads": 32}
    config |= {"num_key_value_heads": 8, "intermediate_size": 14336}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text('{"model": {"vocab": {"x": 0}}}')
    tensor = {"dtype": "U8", "shape": [weight_bytes], "data_offsets": [0, weight_bytes]}
    header = json.dumps({"weight": tensor}).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + weight_bytes)


async def place_all(
    models: dict[str, int], folder: Path, monkeypatch: pytest.MonkeyPatch, **values: str
) -> dict[str, SglangSettings | ModelLoadFailed]:
    """Prepares models of these sizes in GiB on four H100s, and gives each its place."""
    gpus = [Gpu(str(index), "NVIDIA H100", 80 << 30, 79 << 30) for index in range(4)]
    answer_as(monkeypatch, gpus, {})
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name, gib in models.items():
        write_model(folder / name, gib << 30)
    config = make_config(
        LLM_ALLOWED_MODELS=",".join(models),
        LLM_MODEL_PATH=str(folder),
        LLM_ENGINE="sglang",
        **values,
    )
    preparation = Preparation(config)
    prepared = [await preparation.prepare(name, lambda _: None) for name in models]
    places: dict[str, SglangSettings | ModelLoadFailed] = {}
    for name, one in zip(models, prepared, strict=True):
        assert isinstance(one.launcher, PlacedLauncher)
        try:
            plan, placement = one.launcher.plan, one.launcher.place()
            assert isinstance(plan, SglangPlan)
            places[name] = plan.settings_at(placement)
        except ModelLoadFailed as error:
            places[name] = error
    return places


async def test_tensor_parallelism_follows_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """140 GiB take two GPUs that hold 57.6 GiB each at most, so four; 15 GiB take one."""
    settings = (await place_all({"a/large": 140}, tmp_path, monkeypatch))["a/large"]
    assert isinstance(settings, SglangSettings)
    assert settings.tp_size == 4
    assert settings.gpu_ids == ("0", "1", "2", "3")
    assert settings.memory_bytes is None


async def test_two_models_get_gpus_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And all of the memory that is usable there."""
    places = await place_all({"a/one": 15, "a/two": 30}, tmp_path, monkeypatch)
    assert [place.gpu_ids for place in places.values()] == [("1",), ("0",)]
    assert {place.memory_bytes for place in places.values()} == {int((80 << 30) * 0.9)}


async def test_a_fixed_size_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LLM_TP_SIZE, LLM_PP_SIZE and LLM_DP_SIZE multiply to the number of GPUs."""
    places = await place_all({"a/one": 15}, tmp_path, monkeypatch, LLM_TP_SIZE="2", LLM_PP_SIZE="2")
    settings = places["a/one"]
    assert (settings.tp_size, settings.pp_size) == (2, 2)
    assert len(settings.gpu_ids) == 4


async def test_a_model_that_fits_nowhere_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason has its size; the other model has its place."""
    places = await place_all({"a/huge": 400, "a/small": 15}, tmp_path, monkeypatch)
    assert isinstance(places["a/huge"], ModelLoadFailed)
    assert "400.0 GiB" in places["a/huge"].message
    assert isinstance(places["a/small"], SglangSettings)


def an_h100(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_as(monkeypatch, [Gpu("0", "NVIDIA H100", 80 << 30, 79 << 30)], {})
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


async def prepare_gguf(folder: Path, architecture: str, **values: str) -> PreparedModel:
    """Prepares a GGUF file of an architecture, which names a tokenizer and nothing more."""
    keys = LLAMA | {"general.architecture": architecture}
    (folder / "model.gguf").write_bytes(gguf(keys, ["token_embd.weight"]))
    config = make_config(LLM_MODEL_PATH=str(folder), **values)
    return await Preparation(config).prepare("a/b:model.gguf", lambda _: None)


@pytest.mark.parametrize(("architecture", "engine"), [("qwen2", "sglang"), ("gemma2", "llamacpp")])
async def test_gguf_files_that_sglang_cannot_load_run_on_llama_cpp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str, engine: str
) -> None:
    """On a GPU the file's architecture decides, and one line tells why."""
    an_h100(monkeypatch)
    with capture_logs() as logs:
        prepared = await prepare_gguf(tmp_path, architecture)
    assert isinstance(prepared.launcher, PlacedLauncher)
    assert prepared.launcher.decision.kit.kind == engine
    reasons = [log["reason"] for log in logs if log["event"] == "engine_chosen"]
    if engine == "llamacpp":
        assert "SGLang cannot load GGUF files of the architecture 'gemma2'" in reasons[-1]
    else:
        assert len(reasons) == 1


async def test_an_engine_that_was_asked_for_is_not_exchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LLM_ENGINE=sglang with such a file fails, and says what to change."""
    an_h100(monkeypatch)
    with pytest.raises(ModelLoadFailed, match="'gemma2': use LLM_ENGINE=llamacpp"):
        await prepare_gguf(tmp_path, "gemma2", LLM_ENGINE="sglang")


async def test_what_sglang_cannot_run_fails_before_it_starts(tmp_path: Path) -> None:
    """A wish that needs a GPU is refused on a CPU, with the variable."""
    write_model(tmp_path / "a" / "b", 1 << 20)
    config = make_config(LLM_MODEL_PATH=str(tmp_path), LLM_ENGINE="sglang", LLM_TP_SIZE="2")
    with pytest.raises(ModelLoadFailed, match="LLM_TP_SIZE=2 needs GPUs"):
        await Preparation(config).prepare("a/b", lambda _: None)


async def test_adapters_need_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU the model brings them; on a CPU it runs without, and the log says so."""
    write_model(tmp_path / "a" / "b", 1 << 20)
    write_adapter(tmp_path / "adapter", "a/b")
    values = {
        "LLM_MODEL_PATH": str(tmp_path),
        "LLM_ENGINE": "sglang",
        "LLM_LORA_ADAPTERS": f"x={tmp_path / 'adapter'}",
    }
    with capture_logs() as logs:
        alone = await Preparation(make_config(**values)).prepare("a/b", lambda _: None)
    assert alone.adapters == ()
    notices = [log["notice"] for log in logs if log["event"] == "not_honoured"]
    assert any("LLM_LORA_ADAPTERS needs SGLang on a GPU" in notice for notice in notices)
    an_h100(monkeypatch)
    config = make_config(**values)
    assert (await Preparation(config).prepare("a/b", lambda _: None)).adapters == ("x",)


class Launched(Exception):
    """The launcher has decided everything, and would start a process."""


@pytest.fixture
def num_reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts how often the header of a file is parsed, and a configuration."""
    counts = Counter[str]()
    open_gguf, read_bytes = mmap.mmap, Path.read_bytes

    def count_gguf(*arguments: Any, **named: Any) -> mmap.mmap:
        counts["gguf"] += 1
        return open_gguf(*arguments, **named)

    def count_config(path: Path) -> bytes:
        counts[path.name] += 1
        return read_bytes(path)

    def start(*_: object) -> None:
        raise Launched

    monkeypatch.setattr(mmap, "mmap", count_gguf)
    monkeypatch.setattr(Path, "read_bytes", count_config)
    monkeypatch.setattr(HostProcess, "start", start)
    return counts


async def test_gguf_header_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_reads: Counter[str]
) -> None:
    """From the id to the start of SGLang, after the finder's own look for defects."""

    async def describe(files: ModelFiles, *_: object) -> ModelFiles:
        (tmp_path / "config.json").write_text("{}")
        return files

    monkeypatch.setattr(launcher, "provide_described", describe)
    an_h100(monkeypatch)
    prepared = await prepare_gguf(tmp_path, "qwen2")
    with pytest.raises(Launched):
        await prepared.launcher.launch(lambda _: None)
    assert num_reads == {"gguf": 2, "config.json": 1}


async def test_configuration_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_reads: Counter[str]
) -> None:
    """The same for a checkpoint in safetensors."""
    an_h100(monkeypatch)
    write_model(tmp_path / "a" / "b", 1 << 20)
    finder = ModelFinder(make_config(LLM_MODEL_PATH=str(tmp_path)))
    await finder.find(ModelId.parse("a/b"), lambda _: None)
    by_finder = num_reads["config.json"]
    num_reads.clear()
    config = make_config(LLM_MODEL_PATH=str(tmp_path), LLM_ENGINE="sglang")
    prepared = await Preparation(config).prepare("a/b", lambda _: None)
    with pytest.raises(Launched):
        await prepared.launcher.launch(lambda _: None)
    assert num_reads["config.json"] == by_finder + 1
