"""Variables that only SGLang reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from .loading import load_with, problem_of


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
    ],
)
def test_mistakes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], problem: str
) -> None:
    """Each is told with its variable, and with what it takes."""
    assert problem_of(monkeypatch, tmp_path, **variables).startswith(problem)
