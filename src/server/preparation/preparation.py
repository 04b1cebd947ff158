"""From a model id to a launcher: the engine that runs it here, its files, and its place."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import structlog

from ...logs import LogSettings
from ...variables import variables
from ..contract.engine import Engine
from ..contract.engine_settings import Device, EngineKind, EngineSettings, ModelFiles, ModelFormat
from ..contract.errors import ModelLoadFailed
from ..contract.load_progress import ReportProgress
from ..contract.model_id import ModelId
from ..engines.llama_cpp.launcher import LlamaCppLauncher
from ..engines.sglang.front.launcher import SglangLauncher
from ..engines.sglang.plan.checkpoint import Checkpoint, count_weight_bytes, read_checkpoint
from ..engines.sglang.plan.gguf_architectures import find_gguf_obstacle
from ..engines.sglang.plan.refusals import find_notices, find_refusal
from ..files.lora_finder import LoraFinder
from ..files.model_finder import ModelFinder
from ..machine.gpus import describe_gpus, visible_gpus
from ..machine.host_resources import measure_host
from ..models.model_state import PreparedModel
from ..settings.model_settings import DeviceChoice, EngineChoice
from ..settings.server_config import ServerConfig
from ..settings.sglang_settings import SglangSettings
from .demands import find_demand, tensor_parallel_size
from .engine_choice import (
    EngineDecision,
    NoEngine,
    choose_engine,
    decide_llama_cpp,
    inspect_machine,
)
from .placement import NoRoom, Placements

_logger = structlog.get_logger(__name__)

_SGLANG_ONLY = (set(variables(SglangSettings)) - set(variables(LogSettings))) | {
    variable
    for variable in variables(ServerConfig)
    if variable.attribute in ("kv_cache_scales", "max_lora_rank")
}


class Preparation:
    """Chooses engines, finds files and shares the devices, as the configuration says."""

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self._finder = ModelFinder(config)
        self._adapters = LoraFinder(config, self._finder)
        self._placements = Placements(visible_gpus, lambda: measure_host().available_bytes)
        self._machine = inspect_machine()
        _logger.info("machine", gpus=describe_gpus(self._machine.gpus))

    async def prepare(self, model_id: str, report: ReportProgress) -> PreparedModel:
        """Returns the launcher for a model whose files are then on this machine.

        All models are prepared before the first is launched, because they share the devices.

        Raises:
            ModelLoadFailed: no engine can run it here, or its files are not to be had.
        """
        model = ModelId.parse(model_id)
        decision = self._decide(model)
        files = await self._finder.find(model, decision.engine, report)
        checkpoint = await asyncio.to_thread(_read, decision, files)
        decision = self._settle_gguf(decision, files, checkpoint)
        settings = engine_settings(self._config, decision.device)
        notices = not_honoured(self._config, decision)
        if decision.engine is EngineKind.SGLANG:
            settings = await self._add_sglang(model, settings, report)
            # Whether the scales fit depends on the number of GPUs: the launcher looks at them.
            refusal = find_refusal(files, replace(settings, kv_cache_scales=None), checkpoint)
            if refusal is not None:
                raise ModelLoadFailed(refusal)
            notices += await asyncio.to_thread(find_notices, files, settings, checkpoint)
        for notice in notices:
            _logger.warning("not_honoured", model=model_id, notice=notice)
        self._placements.add(
            find_demand(
                self._config,
                decision,
                checkpoint,
                settings,
                model_id=files.model_id,
                num_gpus=len(self._machine.gpus),
            )
        )
        launcher = PlacedLauncher(
            self._config, decision, files, checkpoint, settings, self._placements
        )
        return PreparedModel(launcher, files.revision, tuple(settings.lora_adapters))

    def _decide(self, model: ModelId) -> EngineDecision:
        config = self._config
        try:
            decision = choose_engine(model, config.engine, config.device, self._machine)
        except NoEngine as error:
            raise ModelLoadFailed(str(error)) from error
        _announce(str(model), decision)
        return decision

    def _settle_gguf(
        self, decision: EngineDecision, files: ModelFiles, checkpoint: Checkpoint
    ) -> EngineDecision:
        """Falls back to llama.cpp for a GGUF file that SGLang cannot run on a GPU."""
        config = self._config
        if (
            decision.engine is not EngineKind.SGLANG
            or files.format is not ModelFormat.GGUF
            or decision.device is not Device.CUDA
            or config.engine is not EngineChoice.AUTO
            or config.device is not DeviceChoice.AUTO
        ):
            return decision  # what was asked for and cannot be is refused later
        obstacle = find_gguf_obstacle(files, checkpoint)
        if obstacle is None:
            return decision
        fallback = decide_llama_cpp(f"{obstacle}, so it runs on the CPU", self._machine)
        _announce(files.model_id, fallback)
        return fallback

    async def _add_sglang(
        self, model: ModelId, settings: EngineSettings, report: ReportProgress
    ) -> EngineSettings:
        """Finds what only SGLang needs beside the model: a draft model, and adapters."""
        options = self._config.sglang_options(self._config.tp_size or 1)
        if self._config.speculative_draft_model is not None:
            draft = await self._finder.find(
                self._config.speculative_draft_model, EngineKind.SGLANG, report
            )
            options = replace(options, speculative_draft_model=draft.path)
        settings = replace(settings, sglang=options)
        if settings.device is not Device.CUDA:
            return settings  # its LoRA layers need CUDA
        return replace(settings, lora_adapters=await self._adapters.find(model, report))


@dataclass(frozen=True, slots=True)
class PlacedLauncher:
    """Launches a model in its place, which is known when all models are prepared."""

    config: ServerConfig
    decision: EngineDecision
    files: ModelFiles
    checkpoint: Checkpoint
    settings: EngineSettings
    placements: Placements

    async def launch(self, report: ReportProgress) -> Engine:
        """Starts the engine with its share of the devices; see `EngineLauncher.launch`."""
        settings = await asyncio.to_thread(self.place)
        if self.decision.engine is EngineKind.LLAMACPP:
            return await LlamaCppLauncher(self.files, settings).launch(report)
        return await SglangLauncher(self.files, settings, self.checkpoint).launch(report)

    def place(self) -> EngineSettings:
        """Adds the model's share of the devices to its settings.

        Raises:
            ModelLoadFailed: there is no room for it.
        """
        try:
            placement = self.placements.of(self.files.model_id)
        except NoRoom as error:
            raise ModelLoadFailed(str(error)) from error
        tp_size = tensor_parallel_size(self.config, len(placement.gpu_ids))
        return replace(
            self.settings,
            memory_bytes=placement.memory_bytes,
            gpu_ids=placement.gpu_ids,
            sglang=replace(self.settings.sglang, tp_size=tp_size),
        )


def _announce(model_id: str, decision: EngineDecision) -> None:
    _logger.info(
        "engine_chosen",
        model=model_id,
        engine=decision.engine.value,
        device=decision.device.value,
        reason=decision.reason,
    )
    if decision.missing:
        raise ModelLoadFailed(decision.missing)


def _read(decision: EngineDecision, files: ModelFiles) -> Checkpoint:
    """Reads the files once, for SGLang's launch, too; llama.cpp's launcher reads what it needs."""
    if decision.engine is EngineKind.SGLANG:
        return read_checkpoint(files)
    return Checkpoint("", weight_bytes=count_weight_bytes(files.path))


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
        isq=config.isq,
        kv_cache_scales=config.kv_cache_scales,
        max_lora_rank=config.max_lora_rank,
    )


def not_honoured(config: ServerConfig, decision: EngineDecision) -> list[str]:
    """Says, one sentence each, which variables are set and mean nothing to the engine chosen."""
    notices: list[str] = []
    if config.has_fp8_kv_cache and decision.device is not Device.CUDA:
        on_llama_cpp = decision.engine is EngineKind.LLAMACPP
        kept = "it is float16 on llama.cpp" if on_llama_cpp else "it keeps the model's own type"
        notices.append(
            f"LLM_PAGED_CACHE_TYPE={config.paged_cache_type.value}: an FP8 KV cache needs SGLang "
            f"on a GPU; {kept}"
        )
    if config.isq_type is not None and not config.enable_isq:
        notices.append("LLM_ISQ_TYPE does nothing without LLM_ENABLE_ISQ=true")
    if config.lora_adapters and decision.device is not Device.CUDA:
        notices.append("LLM_LORA_ADAPTERS needs SGLang on a GPU; the model runs without adapters")
    if decision.engine is not EngineKind.LLAMACPP:
        return notices
    if "paged_attention_block_size" in config.model_fields_set:
        notices.append(
            "LLM_PAGED_ATTENTION_BLOCK_SIZE means nothing to llama.cpp, whose KV cache has no pages"
        )
    if config.isq is not None:
        notices.append("LLM_ENABLE_ISQ is not needed for a GGUF file: it is loaded as it is")
    names = sorted(
        variable.name for variable in _SGLANG_ONLY if variable.attribute in config.model_fields_set
    )
    if names:
        read = "these" if len(names) > 1 else "this"
        notices.append(
            f"{', '.join(names)}: only SGLang reads {read}, and llama.cpp runs the model"
        )
    return notices
