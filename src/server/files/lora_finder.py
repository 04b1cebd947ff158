"""Which LoRA adapters belong to which model of this server, and where they lie."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import structlog

from ..contract.errors import ModelLoadFailed
from ..contract.load_progress import LoadProgress, ReportProgress
from ..contract.model_id import InvalidModelId, ModelId
from ..settings.server_config import ServerConfig
from .formats.lora_folder import LoraAdapter, find_adapter_defect, read_adapter
from .model_finder import ModelFinder

_logger = structlog.get_logger(__name__)


class LoraFinder:
    """Finds the adapters of `LLM_LORA_ADAPTERS`, each once, for all models."""

    def __init__(self, settings: ServerConfig, finder: ModelFinder) -> None:
        self._settings = settings
        self._finder = finder
        self._found: dict[str, LoraAdapter] = {}
        self._turn = asyncio.Lock()

    async def find(self, model: ModelId, report: ReportProgress) -> Mapping[str, Path]:
        """Returns the folders of the adapters that were trained for `model`, by name.

        The only model that is served has them all. An adapter that is not to be had is left out,
        and the log says why: the model itself does not need it.
        """
        for name, place in self._settings.lora_adapters.items():
            async with self._turn:
                if name in self._found:
                    continue
                report(LoadProgress(f"looking for the adapter {name}"))
                try:
                    folder = await self._find_folder(place, report)
                except ModelLoadFailed as error:
                    _logger.error(
                        "adapter_failed", adapter=name, reason=error.message, detail=error.detail
                    )
                    continue
                self._found[name] = await asyncio.to_thread(read_adapter, name, folder)
        is_alone = len(self._settings.allowed_models) == 1
        return {
            adapter.name: adapter.folder
            for adapter in self._found.values()
            if is_alone or adapter.base_model == model.repo
        }

    async def _find_folder(self, place: str, report: ReportProgress) -> Path:
        folder = await asyncio.to_thread(_own_folder, place)
        if folder is not None:
            return folder
        try:
            repo = ModelId.parse(place)
        except InvalidModelId:
            raise ModelLoadFailed(
                "its place in LLM_LORA_ADAPTERS is neither a folder nor a repository owner/repo",
                detail=place,
            ) from None
        return await self._finder.find_adapter(repo.repo, report)


def _own_folder(place: str) -> Path | None:
    folder = Path(place).expanduser()
    if not folder.is_dir():
        return None
    defect = find_adapter_defect(folder)
    if defect is not None:
        raise ModelLoadFailed(
            f"its folder in LLM_LORA_ADAPTERS is not whole: {defect}", detail=place
        )
    return folder
