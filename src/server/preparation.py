"""From a model id to a launcher: the engine that runs it here, and its files."""

from __future__ import annotations

import structlog

from .config import ServerConfig
from .engine import ReportProgress
from .engine_choice import (
    EngineDecision,
    EngineKind,
    NoEngine,
    choose_engine,
    inspect_machine,
)
from .engine_settings import Device, EngineSettings, ModelFiles
from .engines.llama_cpp.adapter import LlamaCppLauncher
from .engines.sglang.adapter import SglangLauncher
from .errors import ModelLoadFailed
from .model_files import ModelFinder
from .model_id import ModelId
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
        for notice in not_honoured(config, decision):
            _logger.warning("not_honoured", model=model_id, notice=notice)
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
        fp8_kv_cache=config.has_fp8_kv_cache,
        num_threads=config.num_threads,
        load_timeout_s=config.load_timeout_s,
    )


def not_honoured(config: ServerConfig, decision: EngineDecision) -> list[str]:
    """Says, one sentence each, which variables are set and mean nothing to the engine chosen."""
    notices: list[str] = []
    if config.has_fp8_kv_cache and decision.device is not Device.CUDA:
        notices.append(
            f"LLM_PAGED_CACHE_TYPE={config.paged_cache_type.value} needs a GPU; the KV cache keeps "
            "the model's own type"
        )
    is_set = "paged_attention_block_size" in config.model_fields_set
    if is_set and decision.engine is EngineKind.LLAMACPP:
        notices.append(
            "LLM_PAGED_ATTENTION_BLOCK_SIZE means nothing to llama.cpp, whose KV cache has no pages"
        )
    return notices


def _launcher(
    engine: EngineKind, files: ModelFiles, settings: EngineSettings
) -> LlamaCppLauncher | SglangLauncher:
    match engine:
        case EngineKind.LLAMACPP:
            return LlamaCppLauncher(files, settings)
        case EngineKind.SGLANG:
            return SglangLauncher(files, settings)
