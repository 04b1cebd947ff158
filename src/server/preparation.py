"""From a model id to a launcher: the engine that runs it here, and its files."""

from __future__ import annotations

import structlog

from .config import ServerConfig
from .engine import Device, EngineSettings, ModelFiles, ReportProgress
from .engine_choice import EngineKind, NoEngine, choose_engine, inspect_machine
from .engines.llama_cpp.adapter import LlamaCppLauncher
from .engines.sglang.adapter import SglangLauncher
from .errors import ModelLoadFailed
from .model_files import ModelFinder
from .model_id import ModelId
from .model_settings import KvCacheType
from .models import PreparedModel

_logger = structlog.get_logger(__name__)


class Preparation:
    """Chooses engines and finds files as the configuration says."""

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self._finder = ModelFinder(config)

    async def prepare(self, model_id: str, report: ReportProgress) -> PreparedModel:
        """Returns the launcher for a model whose files are then on this machine.

        Raises:
            ModelLoadFailed: no engine can run it here, or its files are not to be had.
        """
        model = ModelId.parse(model_id)
        config = self._config
        try:
            decision = choose_engine(model, config.engine, config.device, inspect_machine())
        except NoEngine as error:
            raise ModelLoadFailed(str(error)) from error
        _logger.info(
            "engine_chosen",
            model=model_id,
            engine=decision.engine.value,
            device=decision.device.value,
            reason=decision.reason,
        )
        if decision.missing:
            raise ModelLoadFailed(decision.missing)
        settings = engine_settings(config, decision.device)
        files = await self._finder.find(model, decision.engine, report)
        return PreparedModel(_launcher(decision.engine, files, settings), files.revision)


def engine_settings(config: ServerConfig, device: Device) -> EngineSettings:
    """Picks what an engine needs to know from the configuration."""
    return EngineSettings(
        device=device,
        max_running=config.max_concurrent_requests,
        max_model_len=config.max_model_len,
        kv_pool_tokens=config.kv_pool_tokens,
        prefix_caching=config.enable_prefix_caching,
        page_size=config.paged_attention_block_size,
        fp8_kv_cache=config.paged_cache_type is not KvCacheType.AUTO,
        num_threads=config.num_threads,
        load_timeout_s=config.load_timeout_s,
    )


def _launcher(
    engine: EngineKind, files: ModelFiles, settings: EngineSettings
) -> LlamaCppLauncher | SglangLauncher:
    match engine:
        case EngineKind.LLAMACPP:
            return LlamaCppLauncher(files, settings)
        case EngineKind.SGLANG:
            return SglangLauncher(files, settings)
