"""Variables that only SGLang reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenwire.server.contract.engine_settings import Device
from tokenwire.server.engines.kit import read_settings
from tokenwire.server.engines.sglang.settings import SglangSettings

from ...settings.loading import load_with, problem_of


def settings_of(monkeypatch: pytest.MonkeyPatch, folder: Path, **variables: str) -> SglangSettings:
    config = load_with(monkeypatch, folder, **variables)
    return read_settings(SglangSettings, config, Device.CUDA)


def test_defaults_leave_everything_to_sglang(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing set: the placement finds the number of GPUs, and the rest is SGLang's own choice."""
    settings = settings_of(monkeypatch, tmp_path)
    assert settings == SglangSettings(Device.CUDA, max_running=10)
    assert settings.tp_size is None
    sizes = (settings.pp_size, settings.dp_size, settings.ep_size, settings.nnodes)
    assert sizes == (1, 1, 1, 1)


def test_values_reach_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each variable has its own argument; choices ignore case."""
    scales = tmp_path / "scales.json"
    scales.touch()
    settings = settings_of(
        monkeypatch,
        tmp_path,
        LLM_TP_SIZE="4",
        LLM_NNODES="2",
        LLM_NODE_RANK="1",
        LLM_DIST_INIT_ADDR="gpu-0:5000",
        LLM_SCHEDULE_POLICY="LPM",
        LLM_SPECULATIVE_ALGORITHM="EAGLE",
        LLM_SPECULATIVE_NUM_STEPS="3",
        LLM_KV_CACHE_SCALES=str(scales),
        LLM_SGLANG_ARGS="--mem-fraction-static 0.8 --json-model-override-args '{\"a\": 1}'",
    )
    assert settings.tp_size == 4
    meeting = (settings.nnodes, settings.node_rank, settings.dist_init_addr)
    assert meeting == (2, 1, "gpu-0:5000")
    assert settings.schedule_policy == "lpm"
    assert (settings.speculative_algorithm, settings.speculative_num_steps) == ("EAGLE", 3)
    assert settings.kv_cache_scales == scales
    assert settings.extra_args[-1] == '{"a": 1}'


def test_automatic_size(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """LLM_TP_SIZE=auto is the same as none, in any case."""
    assert settings_of(monkeypatch, tmp_path, LLM_TP_SIZE="Auto").tp_size is None


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
        ({"LLM_KV_CACHE_SCALES": "/nowhere"}, "LLM_KV_CACHE_SCALES: there is no such file"),
        ({"LLM_SCHEDULE_POLICY": "fifo"}, "LLM_SCHEDULE_POLICY: takes one of fcfs, lpm"),
        ({"LLM_SGLANG_ARGS": "--a 'b"}, "LLM_SGLANG_ARGS: is not split into words"),
        ({"LLM_SPECULATIVE_DRAFT_MODEL": "x"}, "LLM_SPECULATIVE_DRAFT_MODEL: 'x' is not a model"),
    ],
)
def test_mistakes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], problem: str
) -> None:
    """Each is told with its variable, and with what it takes."""
    assert problem_of(monkeypatch, tmp_path, **variables).startswith(problem)
