"""What the host makes of what the scheduler says about quantisation."""

from __future__ import annotations

import pytest
from tokenwire.server.engines.sglang.isq.outcome import (
    OUTCOME_KEY,
    IsqFailed,
    IsqOutcome,
)

OUTCOME = IsqOutcome(num_layers=3, num_left=1, bytes_before=8 << 20, bytes_after=2 << 20)


def test_outcome_is_told() -> None:
    """What a scheduler says of its layers arrives at the operator in one sentence."""
    outcome = IsqOutcome.read({"status": "ready", OUTCOME_KEY: OUTCOME.as_dict()}, "int8")
    assert outcome == OUTCOME
    assert outcome.sentence("int8") == (
        "3 layers quantised to int8: 8 MiB became 2 MiB; left as they are: 1"
    )


def test_no_outcome() -> None:
    """A scheduler that did not quantise fails the start."""
    with pytest.raises(IsqFailed, match="to int4, but the scheduler of SGLang did not load"):
        IsqOutcome.read({"status": "ready"}, "int4")


def test_no_layers() -> None:
    """A model with nothing to quantise fails the start, and the variable to unset is named."""
    told = IsqOutcome(0, 5, 0, 0).as_dict()
    with pytest.raises(IsqFailed, match="unset LLM_ENABLE_ISQ"):
        IsqOutcome.read({OUTCOME_KEY: told}, "int4")
