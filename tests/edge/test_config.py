"""The variables of the edge."""

from __future__ import annotations

import pytest
from tokenwire.edge.config import EdgeConfig
from tokenwire.environment import ConfigurationError, load


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in EdgeConfig.model_fields.values():
        monkeypatch.delenv(str(field.alias), raising=False)


def read() -> EdgeConfig:
    """Returns the settings that the environment says."""
    return load(EdgeConfig, env_file=None)


def test_documented_defaults() -> None:
    """Without variables the edge listens on 8091 of every address and calls the front beside it."""
    config = read()
    assert (config.hostname, config.port) == ("0.0.0.0", 8091)
    assert config.cors_allowed_origins == ("*",)
    assert config.grpc_target == "localhost:50051"
    assert config.metrics_target == "http://127.0.0.1:9464/metrics"
    assert config.max_body_bytes == 4 * 1024 * 1024


def test_targets_follow_the_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only the front's ports are set, the edge finds it there."""
    monkeypatch.setenv("LLM_GRPC_PORT", "6000")
    monkeypatch.setenv("LLM_METRICS_PORT", "6001")
    assert read().grpc_target == "localhost:6000"
    assert read().metrics_target == "http://127.0.0.1:6001/metrics"


def test_origins_are_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Origins are separated by commas, blanks around them do not count."""
    monkeypatch.setenv("CORS_ALLOWED_ORIGINS", "https://a.example, http://localhost:3000")
    assert read().cors_allowed_origins == ("https://a.example", "http://localhost:3000")


@pytest.mark.parametrize("value", ["https://a.example/", "a.example", "*,https://a.example", ","])
def test_what_is_no_origin_ends_the_start(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """An origin that no browser would ever send is a mistake, not a silent refusal."""
    monkeypatch.setenv("CORS_ALLOWED_ORIGINS", value)
    with pytest.raises(ConfigurationError, match="CORS_ALLOWED_ORIGINS"):
        read()


def test_all_mistakes_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable that does not parse is named at once."""
    monkeypatch.setenv("LLM_INFERENCE_PORT", "eighty")
    monkeypatch.setenv("LLM_BODY_TIMEOUT_S", "0")
    monkeypatch.setenv("LLM_METRICS_TARGET", "localhost")
    with pytest.raises(ConfigurationError) as caught:
        read()
    text = str(caught.value)
    assert all(
        name in text for name in ("LLM_INFERENCE_PORT", "LLM_BODY_TIMEOUT_S", "LLM_METRICS_TARGET")
    )
