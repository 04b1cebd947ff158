"""The rotary embedding of a GGUF file, told from its factors."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
from tokenwire.server.engines.sglang.front.convert import LLAMA3_ROPE, llama3_rope


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
