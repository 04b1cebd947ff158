"""A machine as the finder of model files sees it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenwire.environment import load
from tokenwire.server.contract.engine_settings import ModelFiles
from tokenwire.server.contract.load_progress import LoadProgress
from tokenwire.server.contract.model_id import ModelId
from tokenwire.server.files.hub.retry import HubLimits
from tokenwire.server.files.model_finder import ModelFinder
from tokenwire.server.settings.server_config import ServerConfig

from ...surroundings import surround

# No test waits for a hub that is not there.
LIMITS = HubLimits(first_wait_s=0, longest_wait_s=0, report_interval_s=0)


class Place:
    """A machine with a folder of models, a cache and a hub."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, endpoint: str) -> None:
        self._monkeypatch = monkeypatch
        self._folder = folder
        self.endpoint = endpoint
        self.models = folder / "models"
        self.home = folder / "home"
        self.models.mkdir()
        self.steps: list[LoadProgress] = []
        self.limits: HubLimits | None = LIMITS

    async def find(self, text: str, *, only_gguf: bool = False, **variables: str) -> ModelFiles:
        surround(
            self._monkeypatch,
            self._folder,
            **{
                "LLM_ALLOWED_MODELS": text,
                "LLM_MODEL_PATH": str(self.models),
                "HF_HOME": str(self.home),
                "HF_ENDPOINT": self.endpoint,
                **variables,
            },
        )
        model = ModelId.parse(text)
        return await ModelFinder(load(ServerConfig), self.limits).find(
            model, self.steps.append, only_gguf=only_gguf
        )


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder
