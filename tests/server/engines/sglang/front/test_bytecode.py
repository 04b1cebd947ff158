"""Where SGLang's bytecode goes."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest
from tokenwire.server.engines.sglang.front.bytecode import PROBE, bytecode_environment


@pytest.fixture
def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package's folder that nobody may write to; file modes would not stop root."""
    (tmp_path / PROBE).parent.mkdir()
    monkeypatch.setattr(os, "access", lambda *_: False)
    return tmp_path


def test_read_only_without_bytecode(read_only: Path) -> None:
    """Where it can be kept nowhere else, bytecode goes to the user's cache."""
    assert bytecode_environment(read_only, {"XDG_CACHE_HOME": "/cache"}) == {
        "PYTHONPYCACHEPREFIX": "/cache/tokenwire/bytecode"
    }


def test_compiled_at_install(read_only: Path) -> None:
    """What the install compiled is used."""
    compiled = Path(importlib.util.cache_from_source(str(read_only / PROBE)))
    compiled.parent.mkdir()
    compiled.touch()
    assert bytecode_environment(read_only, {}) == {}


def test_writable(tmp_path: Path) -> None:
    """Python keeps bytecode beside code where it can write."""
    assert bytecode_environment(tmp_path, {}) == {}


def test_own_choice(read_only: Path) -> None:
    """A place that the operator chose stays."""
    assert bytecode_environment(read_only, {"PYTHONPYCACHEPREFIX": "/mine"}) == {}
