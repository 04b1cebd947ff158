"""Who may call, as an operator's variables say it."""

from __future__ import annotations

from pathlib import Path

import pytest

from .loading import load_with, problem_of


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (None, ("swagger",)),
        ("", ("swagger",)),
        ("none", ()),
        ("metrics", ("metrics",)),
        (" metrics , swagger,metrics", ("metrics", "swagger")),
    ],
)
def test_what_needs_no_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str | None, names: tuple[str, ...]
) -> None:
    """Names separated by commas take the place of the default; `none` closes everything."""
    variables = {} if value is None else {"LLM_API_KEYS_OPEN": value}
    settings = load_with(monkeypatch, tmp_path, LLM_API_KEYS_FILE="keys.toml", **variables)
    assert settings.api_keys_open == names


@pytest.mark.parametrize("value", ["none", "swagger"])
def test_openings_without_keys_end_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str
) -> None:
    """Who says what stays open thinks that the rest is shut."""
    line = problem_of(monkeypatch, tmp_path, LLM_API_KEYS_OPEN=value)
    assert line == "LLM_API_KEYS_OPEN is set, but LLM_API_KEYS_FILE is not: everyone may call"


@pytest.mark.parametrize("value", ["all", "none,metrics", "Chat"])
def test_what_cannot_be_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str) -> None:
    """Calls to models always need a key where there are keys."""
    line = problem_of(monkeypatch, tmp_path, LLM_API_KEYS_OPEN=value)
    assert line.startswith("LLM_API_KEYS_OPEN: takes metrics, reflection, swagger or none")
