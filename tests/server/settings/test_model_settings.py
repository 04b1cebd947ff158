"""Variables about the models: which, when, and with how much memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenwire.server.contract.model_id import ModelId
from tokenwire.server.settings.memory_amount import MemoryAmount

from .loading import FIRST, MODELS, SECOND, load_with, problem_of


def test_models_are_loaded_at_once_by_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without LLM_LAZY_LOAD no model waits for a request."""
    assert not load_with(monkeypatch, tmp_path).is_lazy(FIRST)


@pytest.mark.parametrize(
    ("value", "lazy"),
    [
        ("true", {FIRST, SECOND}),
        ("false", set()),
        ("c/d:e.gguf", {SECOND}),
        (MODELS, {FIRST, SECOND}),
    ],
)
def test_lazy_models(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str, lazy: set[ModelId]
) -> None:
    """All, none, or those that are named."""
    config = load_with(monkeypatch, tmp_path, LLM_LAZY_LOAD=value)
    assert {model for model in (FIRST, SECOND) if config.is_lazy(model)} == lazy


def test_memory_by_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A share for one model, a size for another."""
    config = load_with(monkeypatch, tmp_path, LLM_MODEL_MEMORY="a/b=0.5, c/d:e.gguf = 4GiB")
    assert config.model_memory == {
        FIRST: MemoryAmount(share=0.5),
        SECOND: MemoryAmount(num_bytes=4 << 30),
    }


def test_revisions_by_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A branch for one model, a commit for another."""
    revisions = "a/b=refs/pr/1, c/d:e.gguf = 5ac57f1"
    config = load_with(monkeypatch, tmp_path, LLM_MODEL_REVISIONS=revisions)
    assert config.model_revisions == {FIRST: "refs/pr/1", SECOND: "5ac57f1"}


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"LLM_LAZY_LOAD": "maybe"}, "LLM_LAZY_LOAD: takes true, false, or ids"),
        ({"LLM_LAZY_LOAD": "x/y"}, "LLM_LAZY_LOAD: 'x/y' is not in LLM_ALLOWED_MODELS"),
        ({"LLM_MODEL_MEMORY": "x/y=0.5"}, "LLM_MODEL_MEMORY: 'x/y' is not in LLM_ALLOWED_MODELS"),
        ({"LLM_MODEL_MEMORY": "a/b=2"}, "LLM_MODEL_MEMORY: '2' is neither a share in (0, 1]"),
        ({"LLM_MODEL_MEMORY": "a/b"}, "LLM_MODEL_MEMORY: 'a/b' is not of the form name=value"),
        (
            {"LLM_MODEL_REVISIONS": "x/y=v1"},
            "LLM_MODEL_REVISIONS: 'x/y' is not in LLM_ALLOWED_MODELS",
        ),
        ({"LLM_MODEL_REVISIONS": "a/b=../v1"}, "LLM_MODEL_REVISIONS: '../v1' is not the name of"),
        ({"LLM_MODEL_REVISIONS": "a/b=a/../v1"}, "LLM_MODEL_REVISIONS: 'a/../v1' is not the name"),
        ({"LLM_LORA_ADAPTERS": "x"}, "LLM_LORA_ADAPTERS: 'x' is not of the form name=value"),
        ({"LLM_LORA_ADAPTERS": "x=a,x=b"}, "LLM_LORA_ADAPTERS: 'x' stands in it twice"),
    ],
)
def test_mistakes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], problem: str
) -> None:
    """Each is told with its variable, and with what it takes."""
    assert problem_of(monkeypatch, tmp_path, **variables).startswith(problem)


def test_an_adapter_name_at_its_limit_and_above(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """512 characters are a name, as a request may send it; one more is none."""
    name = "n" * 512
    config = load_with(monkeypatch, tmp_path, LLM_LORA_ADAPTERS=f"{name}=owner/repo")
    assert [*config.lora_adapters] == [name]
    problem = problem_of(monkeypatch, tmp_path, LLM_LORA_ADAPTERS=f"{name}n=owner/repo")
    assert "a name has at most 512 characters" in problem
    assert "has 513" in problem
