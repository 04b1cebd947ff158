from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel
from tokenwire.edge.config import EdgeConfig
from tokenwire.environment import ConfigurationError, load
from tokenwire.server.contract.model_id import ModelId
from tokenwire.server.preparation.kits import config_class
from tokenwire.server.settings.kv_cache_settings import KvCacheType

from ...surroundings import MODEL_ID, surround


def problems_of() -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load(config_class())
    return caught.value.problems


def test_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the models alone, everything else takes its default."""
    surround(monkeypatch, tmp_path, LLM_ALLOWED_MODELS=MODEL_ID)
    config = load(config_class())
    assert config.allowed_models == (ModelId.parse(MODEL_ID),)
    assert config.kv_pool_tokens is None
    assert config.max_model_len is None
    assert config.default_max_tokens == 512
    assert config.notices() == []


def test_values_are_parsed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Choices ignore case, auto stands for none, and the pool follows from both its numbers."""
    surround(
        monkeypatch,
        tmp_path,
        LLM_ALLOWED_MODELS=f" {MODEL_ID} , a/b:c.gguf@d/e,",
        LLM_ENGINE="SGLang",
        LLM_PAGED_CACHE_TYPE="F8E4M3",
        LLM_MAX_MODEL_LEN="auto",
        LLM_PAGED_ATTENTION_CONTEXT_SIZE="4096",
        LLM_MAX_CONCURRENT_REQUESTS="8",
        HF_ENDPOINT="https://hub.example/",
    )
    config = load(config_class())
    assert config.engine == "sglang"
    assert config.paged_cache_type is KvCacheType.F8E4M3
    assert config.has_fp8_kv_cache
    assert config.kv_pool_tokens == 4096 * 8
    assert config.max_model_len is None
    assert config.hf_endpoint == "https://hub.example"
    assert config.allowed_models[0] == ModelId.parse(MODEL_ID)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("LLM_GRPC_PORT", "70000", "takes a whole number from 0 to 65535, got '70000'"),
        ("LLM_DEFAULT_TEMPERATURE", "2.5", "takes a number from 0 to 2, got '2.5'"),
        ("LLM_DEFAULT_TOP_P", "nan", "takes a number from 0 to 1, got 'nan'"),
        ("LLM_DEFAULT_MAX_TOKENS", "5000", "is above LLM_MAX_TOKENS_LIMIT, which is 4096"),
        ("LLM_MAX_CONCURRENT_REQUESTS", "0", "takes a whole number from 1 to 4096, got '0'"),
        ("LLM_QUEUE_TIMEOUT_MS", "30s", "got '30s'"),
        ("LLM_ENGINE", "vllm", "takes one of auto, sglang, llamacpp, got 'vllm'"),
        ("LLM_PAGED_CACHE_TYPE", "int8", "takes one of auto, f8e4m3, fp8, got 'int8'"),
        ("LLM_MAX_MODEL_LEN", "long", "takes auto or a whole number of at least 1, got 'long'"),
        ("LLM_ENABLE_PREFIX_CACHING", "maybe", "takes true or false, got 'maybe'"),
        ("GPU_PRESSURE_THRESHOLD", "101", "got '101'"),
        (
            "GPU_PRESSURE_THRESHOLD",
            "0.95",
            "takes a percentage above 1 and of at most 100, such as 95, got '0.95'",
        ),
        ("GPU_PRESSURE_THRESHOLD", "1", "got '1'"),
        ("LOG_FORMAT", "xml", "takes one of json, pretty, got 'xml'"),
        ("HF_ENDPOINT", "hub", "takes an http or https address (got 'hub')"),
        ("LLM_MODEL_PATH", "/nowhere/at/all", "there is no such folder"),
        ("SSL_CERT_FILE", "/nowhere.pem", "there is no such file (got '/nowhere.pem')"),
        ("LLM_ALLOWED_MODELS", "TheBloke/x-GGUF", "name one of them, as in owner/repo:file.gguf"),
        ("LLM_ALLOWED_MODELS", ",", "names no model"),
    ],
)
def test_mistakes_name_the_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, problem: str
) -> None:
    """A value that does not parse ends the start with its variable and what it takes."""
    surround(monkeypatch, tmp_path, **{"LLM_ALLOWED_MODELS": MODEL_ID, name: value})
    (line,) = problems_of()
    assert line.startswith(f"{name}: ")
    assert problem in line


def test_all_bad_ids_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One look at the message is enough to mend the whole list of models."""
    surround(monkeypatch, tmp_path, LLM_ALLOWED_MODELS="x, a/b, ../c")
    (line,) = problems_of()
    assert "'x'" in line
    assert "'../c'" in line


def test_a_lower_limit_lowers_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """LLM_MAX_TOKENS_LIMIT below 512 needs no LLM_DEFAULT_MAX_TOKENS beside it."""
    surround(monkeypatch, tmp_path, LLM_ALLOWED_MODELS=MODEL_ID, LLM_MAX_TOKENS_LIMIT="100")
    assert load(config_class()).default_max_tokens == 100


@pytest.mark.parametrize("kind", [config_class(), EdgeConfig])
def test_no_subject_takes_the_checks_of_another(kind: type[BaseModel]) -> None:
    """Settings are mixins by subject: of two checks of one name the second would never run."""
    names = [
        name
        for base in kind.__mro__
        if (known := vars(base).get("__pydantic_decorators__")) is not None
        for name in (*known.model_validators, *known.field_validators)
        if name in vars(base)
    ]
    assert sorted(names) == sorted(set(names))
