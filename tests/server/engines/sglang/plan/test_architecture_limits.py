"""Architectures that SGLang does not compute right, or not on every device."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenwire.server.engines.sglang.settings import SglangSettings

from .checkpoints import ON_CPU, ON_GPU, model, notices_of, refusal_of


@pytest.mark.parametrize(
    ("architecture", "on_cpu", "on_gpu"),
    [
        ("Phi3VForCausalLM", "which SGLang does not have", "which SGLang does not have"),
        ("DeepseekV3ForCausalLM", "multi-head latent attention", None),
        ("GraniteMoeHybridForCausalLM", "state space layers", None),
        ("Qwen3ForCausalLM", None, None),
    ],
)
def test_architectures_that_cannot_run_are_refused(
    tmp_path: Path, architecture: str, on_cpu: str | None, on_gpu: str | None
) -> None:
    """Before the engine is started, which would die of it; with what runs instead."""
    files = model(tmp_path, architectures=[architecture])
    for settings, words in ((ON_CPU, on_cpu), (ON_GPU, on_gpu)):
        refusal = refusal_of(files, settings)
        if words is None:
            assert refusal is None
        else:
            assert refusal is not None
            assert refusal.startswith("SGLang cannot run 'owner/model': ")
            assert words in refusal


@pytest.mark.parametrize(
    ("architecture", "settings", "words"),
    [
        ("PhiForCausalLM", ON_CPU, "the bias of its output layer"),
        ("PhiForCausalLM", ON_GPU, "the bias of its output layer"),
        ("Gemma2ForCausalLM", ON_CPU, "the soft cap of its attention"),
        ("Gemma2ForCausalLM", ON_GPU, None),
    ],
)
def test_what_is_computed_otherwise_is_told(
    tmp_path: Path, architecture: str, settings: SglangSettings, words: str | None
) -> None:
    """A model that would answer worse without a word says so at the start."""
    told = " ".join(notices_of(model(tmp_path, architectures=[architecture]), settings))
    assert (architecture in told) == (words is not None)
    assert (words or "") in told
