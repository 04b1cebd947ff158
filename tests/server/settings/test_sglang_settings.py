from __future__ import annotations

from pathlib import Path

import pytest
from tokenwire.environment import ConfigurationError, load
from tokenwire.server.contract.isq_type import IsqType
from tokenwire.server.contract.model_id import ModelId
from tokenwire.server.settings.memory_amount import MemoryAmount
from tokenwire.server.settings.server_config import ServerConfig

from ...surroundings import surround

MODELS = "a/b,c/d:e.gguf"
FIRST, SECOND = (ModelId.parse(text) for text in MODELS.split(","))


def load_with(monkeypatch: pytest.MonkeyPatch, folder: Path, **variables: str) -> ServerConfig:
    surround(monkeypatch, folder, LLM_ALLOWED_MODELS=MODELS, **variables)
    return load(ServerConfig)


def test_defaults_leave_everything_to_sglang(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing set: one GPU as the placement finds it, and SGLang's own choices."""
    config = load_with(monkeypatch, tmp_path)
    options = config.sglang_options(tp_size=2)
    assert config.tp_size is None
    assert options.tp_size == 2
    assert (options.pp_size, options.dp_size, options.ep_size, options.nnodes) == (1, 1, 1, 1)
    assert (options.attention_backend, options.schedule_policy, options.extra_args) == ("", "", ())
    assert not config.is_lazy(FIRST)
    assert config.isq is None


def test_values_reach_the_options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each variable has its own argument; choices ignore case."""
    config = load_with(
        monkeypatch,
        tmp_path,
        LLM_TP_SIZE="4",
        LLM_NNODES="2",
        LLM_NODE_RANK="1",
        LLM_DIST_INIT_ADDR="gpu-0:5000",
        LLM_SCHEDULE_POLICY="LPM",
        LLM_SPECULATIVE_ALGORITHM="EAGLE",
        LLM_SPECULATIVE_NUM_STEPS="3",
        LLM_SGLANG_ARGS="--mem-fraction-static 0.8 --json-model-override-args '{\"a\": 1}'",
    )
    options = config.sglang_options(tp_size=config.tp_size or 1)
    assert options.tp_size == 4
    assert (options.nnodes, options.node_rank, options.dist_init_addr) == (2, 1, "gpu-0:5000")
    assert options.schedule_policy == "lpm"
    assert (options.speculative_algorithm, options.speculative_num_steps) == ("EAGLE", 3)
    assert options.extra_args[-1] == '{"a": 1}'


@pytest.mark.parametrize(
    ("value", "lazy"),
    [
        ("true", {FIRST, SECOND}),
        ("false", set()),
        ("c/d:e.gguf", {SECOND}),
        (MODELS, {FIRST, SECOND}),
    ],
)
def test_lazy_models(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str, lazy: set[ModelId]
) -> None:
    """All, none, or those that are named."""
    config = load_with(monkeypatch, tmp_path, LLM_LAZY_LOAD=value)
    assert {model for model in (FIRST, SECOND) if config.is_lazy(model)} == lazy


def test_memory_by_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A share for one model, a size for another."""
    config = load_with(monkeypatch, tmp_path, LLM_MODEL_MEMORY="a/b=0.5, c/d:e.gguf = 4GiB")
    assert config.model_memory == {
        FIRST: MemoryAmount(share=0.5),
        SECOND: MemoryAmount(num_bytes=4 << 30),
    }


@pytest.mark.parametrize(
    ("variables", "isq"),
    [
        ({}, None),
        ({"LLM_ISQ_TYPE": "Q4_K"}, None),
        ({"LLM_ENABLE_ISQ": "true"}, IsqType.Q8_0),
        ({"LLM_ENABLE_ISQ": "true", "LLM_ISQ_TYPE": "q4_k"}, IsqType.Q4_K),
    ],
)
def test_isq_is_on_only_where_it_is_enabled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], isq: IsqType | None
) -> None:
    """A type alone changes nothing; without a type it is the most precise one."""
    assert load_with(monkeypatch, tmp_path, **variables).isq is isq


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"LLM_TP_SIZE": "0"}, "LLM_TP_SIZE: takes auto or a whole number from 1 to 1024, got '0'"),
        ({"LLM_NODE_RANK": "1"}, "LLM_NODE_RANK: counts from 0 and must be below LLM_NNODES"),
        ({"LLM_DIST_INIT_ADDR": "gpu-0"}, "LLM_DIST_INIT_ADDR: takes host:port (got 'gpu-0')"),
        ({"LLM_NNODES": "2", "LLM_TP_SIZE": "2"}, "LLM_NNODES above 1 needs LLM_DIST_INIT_ADDR"),
        (
            {"LLM_NNODES": "2", "LLM_DIST_INIT_ADDR": "gpu-0:5000"},
            "LLM_NNODES above 1 needs LLM_TP_SIZE",
        ),
        ({"LLM_SCHEDULE_POLICY": "fifo"}, "LLM_SCHEDULE_POLICY: takes one of fcfs, lpm"),
        ({"LLM_SGLANG_ARGS": "--a 'b"}, "LLM_SGLANG_ARGS: is not split into words"),
        ({"LLM_SPECULATIVE_DRAFT_MODEL": "x"}, "LLM_SPECULATIVE_DRAFT_MODEL: 'x' is not a model"),
        ({"LLM_LAZY_LOAD": "maybe"}, "LLM_LAZY_LOAD: takes true, false, or ids"),
        ({"LLM_LAZY_LOAD": "x/y"}, "LLM_LAZY_LOAD: 'x/y' is not in LLM_ALLOWED_MODELS"),
        ({"LLM_MODEL_MEMORY": "x/y=0.5"}, "LLM_MODEL_MEMORY: 'x/y' is not in LLM_ALLOWED_MODELS"),
        ({"LLM_MODEL_MEMORY": "a/b=2"}, "LLM_MODEL_MEMORY: '2' is neither a share in (0, 1]"),
        ({"LLM_MODEL_MEMORY": "a/b"}, "LLM_MODEL_MEMORY: 'a/b' is not of the form name=value"),
        ({"LLM_ISQ_TYPE": "Q9"}, "LLM_ISQ_TYPE: takes one of Q4_0"),
        ({"LLM_LORA_ADAPTERS": "x"}, "LLM_LORA_ADAPTERS: 'x' is not of the form name=value"),
        ({"LLM_LORA_ADAPTERS": "x=a,x=b"}, "LLM_LORA_ADAPTERS: 'x' stands in it twice"),
        ({"LLM_KV_CACHE_SCALES": "/nowhere"}, "LLM_KV_CACHE_SCALES: there is no such file"),
    ],
)
def test_mistakes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], problem: str
) -> None:
    """Each is told with its variable, and with what it takes."""
    with pytest.raises(ConfigurationError) as raised:
        load_with(monkeypatch, tmp_path, **variables)
    (line,) = raised.value.problems
    assert line.startswith(problem)
