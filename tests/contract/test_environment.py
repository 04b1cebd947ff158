"""What deployments set."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenwire.commands.start import load_both
from tokenwire.edge.config import EdgeConfig
from tokenwire.environment import ConfigurationError
from tokenwire.server.contract.model_id import ModelId
from tokenwire.server.preparation.kits import config_class
from tokenwire.variables import variables

from ..surroundings import MODEL_ID, surround
from .real_service import ALTERNATING, DEFAULT_MAX_TOKENS, RealService

# The tables of the previous service, and what deployments set beside them.
DOCUMENTED = {
    "LLM_ALLOWED_MODELS": "",
    "LLM_INFERENCE_HOSTNAME": "0.0.0.0",
    "LLM_INFERENCE_PORT": "8091",
    "CORS_ALLOWED_ORIGINS": "*",
    "LLM_DEFAULT_TEMPERATURE": "0.7",
    "LLM_DEFAULT_TOP_P": "0.9",
    "LLM_DEFAULT_MAX_TOKENS": "512",
    "LLM_MAX_TOKENS_LIMIT": "4096",
    "LLM_MAX_CONCURRENT_REQUESTS": "10",
    "LLM_MODEL_PATH": "",
    "HF_HOME": "",
    "HF_ENDPOINT": "",
    "LLM_ENABLE_ISQ": "false",
    "LLM_ISQ_TYPE": "",
    "LLM_PAGED_ATTENTION_BLOCK_SIZE": "32",
    "LLM_PAGED_ATTENTION_CONTEXT_SIZE": "1024",
    "LLM_PAGED_CACHE_TYPE": "auto",
    "LLM_ENABLE_PREFIX_CACHING": "false",
    "SERVICE_NAME": "llm-inference-api",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4317",
    "LOG_FORMAT": "json",
    "SERVER_SSL_ENABLED": "false",
    "TLS_SERVER_CERT_PATH": "",
    "TLS_SERVER_KEY_PATH": "",
    "LLM_QUEUE_TIMEOUT_MS": "30000",
    "GPU_PRESSURE_THRESHOLD": "95.0",
    "CUDA_VISIBLE_DEVICES": "",
    "HF_TOKEN": "",
    "SSL_CERT_FILE": "",
}


def problems_of() -> tuple[str, ...]:
    """Returns the mistakes that end a start."""
    with pytest.raises(ConfigurationError) as caught:
        load_both()
    return caught.value.problems


@pytest.mark.parametrize(("name", "default"), DOCUMENTED.items())
def test_variables_keep_names_and_defaults(name: str, default: str) -> None:
    """Each of them exists, in force, with the default that its table had.

    > All variables of the previous service keep their names, defaults and meaning
    > ([configuration.md](configuration.md) has them all).
    """
    known = {each.name: each for each in (*variables(config_class()), *variables(EdgeConfig))}
    assert known[name].default == default


async def test_env_file(service: RealService) -> None:
    """The service of this suite has its models from there, and its port from the environment.

    > A `.env` file in the working directory is read; the environment wins.
    """
    assert "LLM_INFERENCE_PORT=1\n" in (service.folder / ".env").read_text()
    assert [model["id"] for model in await service.get("/api/llms")] == [MODEL_ID, ALTERNATING]
    body = {"model": MODEL_ID, "prompt": "One, two, three,"}
    answer = await service.post("/api/completions", body)
    assert answer["tokens_generated"] == DEFAULT_MAX_TOKENS


def test_no_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The message says which forms the variable takes.

    > `LLM_ALLOWED_MODELS` unset or empty ends the start with a clear message.
    """
    for value in ({}, {"LLM_ALLOWED_MODELS": ""}, {"LLM_ALLOWED_MODELS": " "}):
        surround(monkeypatch, tmp_path, **value)
        (problem,) = problems_of()
        assert problem.startswith("LLM_ALLOWED_MODELS: is not set; takes model ids")
        assert "owner/repo:file.gguf" in problem


@pytest.mark.parametrize(
    ("name", "value", "takes"),
    [
        ("LLM_INFERENCE_PORT", "abc", "takes a whole number from 0 to 65535, got 'abc'"),
        ("LLM_DEFAULT_TEMPERATURE", "3", "takes a number from 0 to 2, got '3'"),
        ("LLM_MAX_CONCURRENT_REQUESTS", "many", "takes a whole number from 1 to 4096, got 'many'"),
        ("LLM_QUEUE_TIMEOUT_MS", "30s", "got '30s'"),
        ("GPU_PRESSURE_THRESHOLD", "high", "got 'high'"),
        ("LLM_ENABLE_ISQ", "maybe", "takes true or false, got 'maybe'"),
        ("LLM_PAGED_CACHE_TYPE", "int8", "takes one of auto, f8e4m3, fp8, got 'int8'"),
        ("LOG_FORMAT", "xml", "takes one of json, pretty, got 'xml'"),
        ("SERVER_SSL_ENABLED", "perhaps", "takes true or false, got 'perhaps'"),
        ("CORS_ALLOWED_ORIGINS", "page", "'page' is not an origin"),
    ],
)
def test_values_that_do_not_parse(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, takes: str
) -> None:
    """One line tells all of it.

    > A value that does not parse ends the start, naming the variable and what it takes.
    """
    surround(monkeypatch, tmp_path, **{"LLM_ALLOWED_MODELS": MODEL_ID, name: value})
    (problem,) = problems_of()
    assert problem.startswith(f"{name}: ")
    assert takes in problem


def test_model_ids(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Three forms, and one that lacks something.

    > Model ids are `owner/repo`, `owner/repo:file.gguf` and
    > `owner/repo:file.gguf@tokenizer-owner/repo`. A GGUF id without a file name is refused with a
    > message that shows the form.
    """
    ids = ["a/b", "a/b-GGUF:c.gguf", "a/b-GGUF:c.gguf@d/e"]
    surround(monkeypatch, tmp_path, LLM_ALLOWED_MODELS=",".join(ids))
    server, _ = load_both()
    assert server.allowed_models == tuple(ModelId.parse(each) for each in ids)
    surround(monkeypatch, tmp_path, LLM_ALLOWED_MODELS="TheBloke/TinyLlama-GGUF")
    (problem,) = problems_of()
    assert "owner/repo:file.gguf" in problem
