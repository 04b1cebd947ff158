"""The settings as an operator's variables make them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenwire.environment import ConfigurationError, load
from tokenwire.server.contract.model_id import ModelId
from tokenwire.server.preparation.kits import config_class
from tokenwire.server.settings.server_config import ServerConfig

from ...surroundings import surround

MODELS = "a/b,c/d:e.gguf"
FIRST, SECOND = (ModelId.parse(text) for text in MODELS.split(","))


def load_with(monkeypatch: pytest.MonkeyPatch, folder: Path, **variables: str) -> ServerConfig:
    surround(monkeypatch, folder, LLM_ALLOWED_MODELS=MODELS, **variables)
    return load(config_class())


def problem_of(monkeypatch: pytest.MonkeyPatch, folder: Path, **variables: str) -> str:
    with pytest.raises(ConfigurationError) as raised:
        load_with(monkeypatch, folder, **variables)
    (line,) = raised.value.problems
    return line
