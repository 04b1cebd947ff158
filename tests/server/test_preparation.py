"""From a model id to a launcher."""

from __future__ import annotations

from typing import Any

import pytest
from tokenwire.server.engine_choice import EngineDecision, EngineKind
from tokenwire.server.engine_settings import Device
from tokenwire.server.errors import ModelLoadFailed
from tokenwire.server.preparation import Preparation, engine_settings, not_honoured

from .fronts import make_config

LLAMACPP = EngineDecision(EngineKind.LLAMACPP, Device.CPU, "")
SGLANG_CPU = EngineDecision(EngineKind.SGLANG, Device.CPU, "")
SGLANG_GPU = EngineDecision(EngineKind.SGLANG, Device.CUDA, "")


@pytest.mark.parametrize(
    ("values", "decision", "variable"),
    [
        ({"LLM_PAGED_CACHE_TYPE": "f8e4m3"}, LLAMACPP, "LLM_PAGED_CACHE_TYPE=f8e4m3"),
        ({"LLM_PAGED_CACHE_TYPE": "fp8"}, SGLANG_CPU, "LLM_PAGED_CACHE_TYPE=fp8"),
        ({"LLM_PAGED_ATTENTION_BLOCK_SIZE": "16"}, LLAMACPP, "LLM_PAGED_ATTENTION_BLOCK_SIZE"),
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
    settings = engine_settings(config, Device.CUDA)
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
