"""What SGLang's model classes define, read from sources that the test writes."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path

import pytest
from tokenwire.server.engines.sglang.plan.model_classes import class_defines

BASE = """
class Base(nn.Module):
    def __init__(self):
        self.load_kv_cache_scales = None

    other = 1


def load_kv_cache_scales():
    pass


class Scaled(
    nn.Module,
    Mixin,
):
    # A comment.

    def load_kv_cache_scales(self, path: str) -> None:
        pass
"""
CHILD = """
class Child(Scaled): pass
class Grandchild(Child):
    pass
class Circle(Circle):
    pass
"""


@pytest.fixture(autouse=True)
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = tmp_path / "srt" / "models"
    models.mkdir(parents=True)
    (models / "base.py").write_text(BASE)
    (models / "child.py").write_text(CHILD)
    spec = importlib.machinery.ModuleSpec("sglang", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)


@pytest.mark.parametrize(
    ("name", "defines"),
    [
        ("Base", False),
        ("Scaled", True),
        ("Child", True),
        ("Grandchild", True),
        ("Circle", False),
        ("Nonesuch", False),
        ("Scale", False),
    ],
)
def test_definitions_are_found(name: str, defines: bool) -> None:
    """A class defines what stands in its body, or in that of a class that it inherits from."""
    assert class_defines(name, "load_kv_cache_scales") is defines


def test_without_sglang(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where SGLang is not installed no class defines anything."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert not class_defines("Scaled", "load_kv_cache_scales")
