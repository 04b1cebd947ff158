"""The examples that the previous service was documented with, sent as they stand there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tokenwire.commands.start import load_both

from ..certificates import PairFiles
from ..models.documented import GGUF_MODELS, STANDARD_MODELS, VISION_MODELS
from ..server.scripted_engine import ScriptedEngine
from ..surroundings import surround
from .existing_client import read_as_existing_client
from .stage import Stage, start_stage

TINY_LLAMA = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
GENERATE = """{
    "prompt": "Explain machine learning in simple terms.",
    "model": "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
    "max_tokens": 256,
    "temperature": 0.7
  }"""
CHAT_STREAM = """{
    "model": "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
    "messages": [
      {"role": "user", "content": "Write a haiku about coding."}
    ]
  }"""
CHAT = """{
    "model": "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
    "messages": [
      {"role": "system", "content": "You are a helpful assistant."},
      {"role": "user", "content": "Hello!"}
    ]
  }"""
COMPLETION = '{"model": "TinyLlama/TinyLlama-1.1B-Chat-v1.0", "prompt": "Once upon"}'
AS_CURL = {"Content-Type": "application/json", "User-Agent": "curl/8.5.0", "Accept": "*/*"}
VARIABLES = {
    "LLM_ALLOWED_MODELS": TINY_LLAMA,
    "LLM_INFERENCE_HOSTNAME": "127.0.0.1",
    "LLM_INFERENCE_PORT": "8092",
    "CORS_ALLOWED_ORIGINS": "https://app.example,http://localhost:3000",
    "LLM_DEFAULT_TEMPERATURE": "0.5",
    "LLM_DEFAULT_TOP_P": "0.8",
    "LLM_DEFAULT_MAX_TOKENS": "256",
    "LLM_MAX_TOKENS_LIMIT": "2048",
    "LLM_MAX_CONCURRENT_REQUESTS": "4",
    "HF_ENDPOINT": "https://mirror.example",
    "LLM_ENABLE_ISQ": "true",
    "LLM_ISQ_TYPE": "Q4_K",
    "LLM_PAGED_ATTENTION_BLOCK_SIZE": "16",
    "LLM_PAGED_ATTENTION_CONTEXT_SIZE": "2048",
    "LLM_PAGED_CACHE_TYPE": "f8e4m3",
    "LLM_ENABLE_PREFIX_CACHING": "true",
    "SERVICE_NAME": "my-llm",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317",
    "LOG_FORMAT": "pretty",
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage() -> AsyncIterator[Stage]:
    """A service whose one model has the name that the examples ask for."""
    async with start_stage(ScriptedEngine(), LLM_ALLOWED_MODELS=TINY_LLAMA) as running:
        running.engine.allow(10_000)
        yield running


@pytest.mark.parametrize(
    ("path", "body"),
    [("/api/generate", GENERATE), ("/api/chat", CHAT), ("/api/completions", COMPLETION)],
)
async def test_examples(stage: Stage, path: str, body: str) -> None:
    """Each example of curl is answered."""
    async with stage.http.post(path, data=body.encode(), headers=AS_CURL) as response:
        assert response.status == 200, await response.text()
        answer = await response.json()
    assert answer["model"] == TINY_LLAMA
    assert answer["message"]["content"] if path == "/api/chat" else answer["text"]


@pytest.mark.parametrize(
    ("path", "body", "key"),
    [
        ("/api/chat/stream", CHAT_STREAM, "content"),
        ("/api/completions/stream", COMPLETION, "text"),
    ],
)
async def test_examples_of_streams(stage: Stage, path: str, body: str, key: str) -> None:
    """And streamed."""
    async with stage.http.post(path, data=body.encode(), headers=AS_CURL) as response:
        assert response.status == 200, await response.text()
        read = await read_as_existing_client(response, key)
    assert read.text.startswith("0 1 2 ")
    assert read.error is None


@pytest.mark.parametrize(
    "path", ["/health/live", "/health/ready", "/api/llms", "/swagger-ui", "/metrics"]
)
async def test_pages(stage: Stage, path: str) -> None:
    """What is only asked for, the probes of its document among them, is there."""
    async with stage.http.get(path, headers=AS_CURL) as response:
        assert response.status == 200
        assert await response.read()


def test_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A deployment that sets each variable of its tables starts, without a word about any."""
    pair = PairFiles(tmp_path).variables()
    folders = {"LLM_MODEL_PATH": str(tmp_path), "HF_HOME": str(tmp_path)}
    surround(monkeypatch, tmp_path, **VARIABLES, **folders, **pair)
    server, edge = load_both()
    assert server.notices() == edge.notices() == []
    assert [str(model) for model in server.allowed_models] == [TINY_LLAMA]
    assert (edge.hostname, edge.port) == ("127.0.0.1", 8092)
    assert edge.cors_allowed_origins == ("https://app.example", "http://localhost:3000")
    assert (server.default_temperature, server.default_top_p) == (0.5, 0.8)
    assert (server.default_max_tokens, server.max_tokens_limit) == (256, 2048)
    assert server.max_concurrent_requests == 4
    assert server.hf_endpoint == "https://mirror.example"
    assert server.has_fp8_kv_cache
    assert server.enable_prefix_caching
    assert server.kv_pool_tokens == 2048 * 4
    assert (server.service_name, edge.service_name) == ("my-llm", "my-llm")
    assert server.server_ssl_enabled
    assert edge.server_ssl_enabled


def test_model_ids(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every id that was there to be copied may be allowed, all of them at once."""
    ids = [each.model_id for each in (*GGUF_MODELS, *STANDARD_MODELS, *VISION_MODELS)]
    surround(monkeypatch, tmp_path, LLM_ALLOWED_MODELS=",".join(ids))
    server, _ = load_both()
    assert [str(model) for model in server.allowed_models] == ids
    assert TINY_LLAMA in ids
