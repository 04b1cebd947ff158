"""Where front and edge of one `tokenwire serve` meet."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenwire.commands.socket_between import find_problem_between, socket_between
from tokenwire.environment import load
from tokenwire.server.preparation.kits import config_class
from tokenwire.server.settings.server_config import ServerConfig

from ..certificates import PairFiles
from ..surroundings import surround

LIMIT = 107


def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **variables: str) -> ServerConfig:
    surround(monkeypatch, tmp_path, LLM_ALLOWED_MODELS="a/b", **variables)
    return load(config_class())


def temporary_of(num_bytes: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """Makes the temporary folder one of which a socket's path has that many bytes."""
    folder = "/" + "t" * (num_bytes - len("//tokenwire-12345678/grpc.sock"))
    monkeypatch.setenv("TMPDIR", folder)
    monkeypatch.setattr("tempfile.tempdir", folder)
    return folder


def test_without_tls_they_meet_at_the_port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No folder is made, and its length hurts nobody."""
    server = config(monkeypatch, tmp_path)
    temporary_of(LIMIT + 1, monkeypatch)
    assert find_problem_between(server) is None
    with socket_between(server) as path:
        assert path is None


def test_a_temporary_folder_at_the_limit_and_above(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A path of 107 bytes is taken; of one more the variable, the limit and its value are told."""
    server = config(monkeypatch, tmp_path, **PairFiles(tmp_path).variables())
    temporary_of(LIMIT, monkeypatch)
    assert find_problem_between(server) is None
    folder = temporary_of(LIMIT + 1, monkeypatch)
    problem = find_problem_between(server)
    assert problem is not None
    assert problem.startswith(f"TMPDIR: takes a folder of at most {len(folder) - 1} bytes")
    assert f"at most {LIMIT}, got '{folder}'" in problem


def test_the_name_is_as_long_as_it_is_taken_to_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is checked before anything starts is what is made then."""
    server = config(monkeypatch, tmp_path, **PairFiles(tmp_path).variables())
    with socket_between(server) as path:
        assert path is not None
        folder = path.parent
        assert len(f"{folder.name}/{path.name}") == len("tokenwire-12345678/grpc.sock")
        assert folder.is_dir()
    assert not folder.exists()


def test_a_socket_of_its_own_needs_no_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """LLM_GRPC_SOCKET is where they meet, then."""
    named = PairFiles(tmp_path).variables() | {"LLM_GRPC_SOCKET": str(tmp_path / "s")}
    server = config(monkeypatch, tmp_path, **named)
    temporary_of(LIMIT + 1, monkeypatch)
    assert find_problem_between(server) is None
    with socket_between(server) as path:
        assert path == tmp_path / "s"
