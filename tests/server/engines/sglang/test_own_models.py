"""What the service believes of SGLang's model classes, read from their sources."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest
from tokenwire.server.engines.sglang.plan.architecture_limits import NO_CLASS
from tokenwire.server.engines.sglang.plan.model_classes import class_defines
from tokenwire.server.engines.sglang.plan.weight_quantization import BITSANDBYTES_ARCHITECTURES


def attributes(node: ast.ClassDef) -> set[str]:
    """The names that the body of a class sets or defines."""
    names: set[str] = set()
    for statement in node.body:
        match statement:
            case ast.FunctionDef(name=name):
                names.add(name)
            case ast.Assign(targets=targets):
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case _:
                pass
    return names


@pytest.fixture(scope="module")
def classes() -> dict[str, set[str]]:
    """Attributes of every model class by its name, inherited ones included."""
    spec = importlib.util.find_spec("sglang")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    folder = Path(spec.submodule_search_locations[0]) / "srt" / "models"
    own: dict[str, set[str]] = {}
    bases: dict[str, list[str]] = {}
    for file in folder.glob("*.py"):
        for node in ast.parse(file.read_text("utf-8-sig")).body:
            if isinstance(node, ast.ClassDef):
                own[node.name] = attributes(node)
                bases[node.name] = [base.id for base in node.bases if isinstance(base, ast.Name)]

    def collect(name: str, seen: frozenset[str]) -> set[str]:
        if name not in own or name in seen:
            return set()
        return own[name].union(*(collect(base, seen | {name}) for base in bases[name]))

    return {name: collect(name, frozenset()) for name in own}


@pytest.mark.parametrize("architecture", sorted(BITSANDBYTES_ARCHITECTURES))
def test_bitsandbytes(classes: dict[str, set[str]], architecture: str) -> None:
    """SGLang's loader for bitsandbytes takes each architecture of the table."""
    assert "bitsandbytes_stacked_params_mapping" in classes[architecture]


def test_scales_file(classes: dict[str, set[str]]) -> None:
    """Which classes read a file of scales is told from the sources as Python itself sees them."""
    for architecture, attributes in classes.items():
        if architecture.endswith("ForCausalLM"):
            takes_scales = "load_kv_cache_scales" in attributes
            assert class_defines(architecture, "load_kv_cache_scales") is takes_scales, architecture
    assert class_defines("LlamaForCausalLM", "load_kv_cache_scales")
    assert not class_defines("NonesuchForCausalLM", "load_kv_cache_scales")


@pytest.mark.parametrize("architecture", sorted(NO_CLASS))
def test_no_class(classes: dict[str, set[str]], architecture: str) -> None:
    """What is refused for want of a class has none."""
    assert architecture not in classes
