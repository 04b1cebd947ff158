"""TLS that is configured by half is told before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenwire.edge.config import EdgeConfig
from tokenwire.environment import ConfigurationError, Settings, load
from tokenwire.server.preparation.kits import config_class
from tokenwire.server.settings.server_config import ServerConfig

from ..surroundings import MODEL_ID, surround

CERT, KEY = "TLS_SERVER_CERT_PATH", "TLS_SERVER_KEY_PATH"
CLIENT_CA = "TLS_CLIENT_CA_PATH"
TARGET_CA = "LLM_GRPC_TARGET_CA_PATH"
TARGET_PAIR = ("LLM_GRPC_TARGET_CERT_PATH", "LLM_GRPC_TARGET_KEY_PATH")
UNDECIDED = "is set, but SERVER_SSL_ENABLED is not: true serves TLS, false serves plaintext"


def read(
    monkeypatch: pytest.MonkeyPatch, folder: Path, kind: type[Settings], **variables: str
) -> Settings:
    surround(monkeypatch, folder, LLM_ALLOWED_MODELS=MODEL_ID, **variables)
    return load(kind)


@pytest.mark.parametrize("kind", [config_class(), EdgeConfig])
@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        (
            {"SERVER_SSL_ENABLED": "true"},
            f"{CERT} and {KEY} are not set, but SERVER_SSL_ENABLED asks for TLS",
        ),
        (
            {"SERVER_SSL_ENABLED": "true", CERT: "a.pem"},
            f"{KEY} is not set, but SERVER_SSL_ENABLED asks for TLS",
        ),
        (
            {"SERVER_SSL_ENABLED": "true", KEY: "a.pem"},
            f"{CERT} is not set, but SERVER_SSL_ENABLED asks for TLS",
        ),
        ({CERT: "a.pem", KEY: "b.pem"}, f"{CERT} {UNDECIDED}"),
        ({KEY: "b.pem"}, f"{KEY} {UNDECIDED}"),
    ],
)
def test_half_configured(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    kind: type[Settings],
    variables: dict[str, str],
    problem: str,
) -> None:
    """One sentence, on both doors."""
    with pytest.raises(ConfigurationError) as raised:
        read(monkeypatch, tmp_path, kind, **variables)
    assert raised.value.problems == (problem,)


def test_client_certificates_need_tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Who asks for client certificates does not get plaintext."""
    with pytest.raises(ConfigurationError) as raised:
        read(monkeypatch, tmp_path, config_class(), **{CLIENT_CA: "ca.pem"})
    assert raised.value.problems == (f"{CLIENT_CA} {UNDECIDED}",)


def test_plaintext_is_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Files may stay configured where TLS is switched off by name."""
    variables = {"SERVER_SSL_ENABLED": "false", CERT: "a.pem", KEY: "b.pem", CLIENT_CA: "ca.pem"}
    config = read(monkeypatch, tmp_path, config_class(), **variables)
    assert isinstance(config, ServerConfig)
    assert config.pem_files is None


def edge(monkeypatch: pytest.MonkeyPatch, folder: Path, **variables: str) -> EdgeConfig:
    config = read(monkeypatch, folder, EdgeConfig, **variables)
    assert isinstance(config, EdgeConfig)
    return config


TLS_ON = {"SERVER_SSL_ENABLED": "true", CERT: "a.pem", KEY: "b.pem"}


@pytest.mark.parametrize(
    ("variables", "target", "has_tls"),
    [
        ({}, "localhost:50051", False),
        (TLS_ON, "localhost:50051", True),
        (TLS_ON | {"LLM_GRPC_TARGET_TLS": "false"}, "localhost:50051", False),
        ({"LLM_GRPC_TARGET_TLS": "true", "LLM_GRPC_TARGET": "a:1"}, "a:1", True),
        (TLS_ON | {"LLM_GRPC_TARGET": "unix:/run/a.sock"}, "unix:/run/a.sock", False),
    ],
)
def test_where_the_edge_finds_the_front(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    variables: dict[str, str],
    target: str,
    has_tls: bool,
) -> None:
    """TLS as the server's, unless told otherwise, and not on a socket."""
    config = edge(monkeypatch, tmp_path, **variables)
    assert (config.grpc_target, config.grpc_target_tls) == (target, has_tls)


def test_the_edges_pair_is_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A certificate without its key cannot be shown."""
    for variable in TARGET_PAIR:
        with pytest.raises(ConfigurationError) as raised:
            edge(monkeypatch, tmp_path, **TLS_ON, **{variable: "x.pem"})
        (problem,) = raised.value.problems
        assert problem == f"{TARGET_PAIR[0]} and {TARGET_PAIR[1]} are set together or not at all"


def test_files_for_the_target_need_tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Who trusts an authority does not call in plaintext without knowing."""
    with pytest.raises(ConfigurationError) as raised:
        edge(monkeypatch, tmp_path, **{TARGET_CA: "ca.pem"})
    (problem,) = raised.value.problems
    assert problem == f"{TARGET_CA} is set, but LLM_GRPC_TARGET_TLS is neither true nor false"
    variables = {TARGET_CA: "ca.pem", "LLM_GRPC_TARGET_TLS": "false"}
    assert not edge(monkeypatch, tmp_path, **variables).grpc_target_tls
