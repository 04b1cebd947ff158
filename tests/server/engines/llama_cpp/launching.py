"""llama.cpp on a small scale, as its tests start it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tokenwire.server.contract.engine_settings import (
    Device,
    EngineSettings,
    ModelFiles,
    ModelFormat,
)
from tokenwire.server.engines.llama_cpp.engine import LlamaCppEngine
from tokenwire.server.engines.llama_cpp.launcher import LlamaCppLauncher

from ..contract import MAX_MODEL_LEN, MAX_RUNNING

SETTINGS = EngineSettings(
    Device.CPU,
    max_running=MAX_RUNNING,
    max_model_len=MAX_MODEL_LEN,
    prefix_caching=True,
    num_threads=1,
)
SMALL = replace(SETTINGS, max_running=2, max_model_len=256)


async def launch(path: Path, settings: EngineSettings = SMALL) -> LlamaCppEngine:
    # Not by the built-in id: what that names is unpacked into the user's cache.
    files = ModelFiles("some/model:file.gguf", ModelFormat.GGUF, path)
    return await LlamaCppLauncher(files, settings).launch(lambda _: None)


def modes(folder: Path) -> list[int]:
    """The permissions of what lies in a folder."""
    return [entry.stat().st_mode & 0o777 for entry in folder.iterdir()]
