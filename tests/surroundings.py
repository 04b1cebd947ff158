"""A process environment that holds nothing but what a test puts in."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenwire.commands.start import known_variables

MODEL_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"


def surround(monkeypatch: pytest.MonkeyPatch, folder: Path, **variables: str) -> None:
    """Moves into `folder` and sets exactly `variables` among those that the service reads."""
    monkeypatch.chdir(folder)
    for name in known_variables():
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
