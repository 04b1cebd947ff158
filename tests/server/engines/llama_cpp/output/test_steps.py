from __future__ import annotations

import pytest
from tokenwire.server.engines.llama_cpp.output.steps import read_steps

PAGE = """\
# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed, excluding cached tokens
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 200
llamacpp:prompt_seconds_total 4.5
llamacpp:n_decode_total 17
"""


def test_steps_and_speed() -> None:
    """Steps of prompts and answers count, and a full step takes what the speed so far makes it."""
    steps = read_steps(PAGE, batch_tokens=128)
    assert steps.num_steps == 217
    assert steps.longest_step_s == pytest.approx(2.88)


def test_page_of_another_release() -> None:
    """Without the series nothing is known, and nothing fails."""
    assert read_steps("", batch_tokens=128).longest_step_s == 0.0
