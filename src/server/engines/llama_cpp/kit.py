"""llama.cpp as the preparation of models knows it: GGUF files, on a CPU."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from ...contract.engine_settings import Device, EngineSettings, ModelFiles
from ...contract.load_progress import ReportProgress
from ...contract.model_id import DEFAULT_MODEL, GGUF_FORM, ModelId
from ...files.formats.gguf_defects import count_gguf_bytes
from ...settings.server_config import ServerConfig
from ..kit import Assignment, Demand, NoEngine, Offer, Placement, read_settings
from .launcher import LlamaCppLauncher

_HOST_BYTES: Final = 256 << 20


@dataclass(frozen=True, slots=True)
class LlamaCppPlan:
    """One GGUF file on llama.cpp, whose launcher reads what it needs of it."""

    files: ModelFiles
    settings: EngineSettings
    adapters: tuple[str, ...] = ()
    obstacle: str | None = None

    def find_refusal(self) -> None:
        """Refuses nothing: the launcher says what it cannot load."""

    def find_notices(self) -> list[str]:
        """Says nothing: the launcher says what became smaller."""
        return []

    def demand(self, num_gpus: int) -> Demand:  # noqa: ARG002 - it uses none
        """Takes the weights as they are in the file, and its buffers."""
        weight_bytes = count_gguf_bytes(self.files.path)
        if self.files.projector is not None:
            weight_bytes += count_gguf_bytes(self.files.projector)
        return Demand(self.files.model_id, self.settings.device, weight_bytes, _HOST_BYTES)

    def launcher(self, placement: Placement) -> LlamaCppLauncher:
        """Returns what starts it with its share of the memory."""
        settings = replace(self.settings, memory_bytes=placement.memory_bytes)
        return LlamaCppLauncher(self.files, settings)


class LlamaCppKit:
    """See `EngineKit`."""

    kind = "llamacpp"
    name = "llama.cpp"
    module = "xllamacpp"
    settings = EngineSettings
    only_gguf = True

    def offer(self, model: ModelId, *, uses_gpu: bool) -> Offer:
        """Offers to run GGUF files, on a CPU; before all others where there is no GPU."""
        rank = 1 if uses_gpu else 0
        if model == DEFAULT_MODEL:
            reason = f"the built-in model runs on {self.name} where there is a CPU"
            return Offer(Device.CPU, rank, reason)
        if not model.is_gguf:
            raise NoEngine(
                f"LLM_ENGINE=llamacpp, but llama.cpp reads GGUF files only and '{model}' names "
                f"none: use an id of the form {GGUF_FORM}, or LLM_ENGINE=sglang"
            )
        return Offer(Device.CPU, rank, f"it runs GGUF files on {'the' if uses_gpu else 'a'} CPU")

    def not_honoured(self, config: ServerConfig, device: Device) -> list[str]:  # noqa: ARG002 - the CPU
        """Says what a CPU, a GGUF file and a KV cache without pages do not follow."""
        notices: list[str] = []
        if config.has_fp8_kv_cache:
            notices.append(
                f"LLM_PAGED_CACHE_TYPE={config.paged_cache_type.value}: an FP8 KV cache needs "
                "SGLang on a GPU; it is float16 on llama.cpp"
            )
        if config.lora_adapters:
            notices.append(
                "LLM_LORA_ADAPTERS needs SGLang on a GPU; the model runs without adapters"
            )
        if "paged_attention_block_size" in config.model_fields_set:
            notices.append(
                "LLM_PAGED_ATTENTION_BLOCK_SIZE means nothing to llama.cpp, whose KV cache has no "
                "pages"
            )
        if config.isq is not None:
            notices.append("LLM_ENABLE_ISQ is not needed for a GGUF file: it is loaded as it is")
        return notices

    async def plan(self, assignment: Assignment, report: ReportProgress) -> LlamaCppPlan:  # noqa: ARG002 - at once
        """Needs nothing beside the file."""
        settings = read_settings(EngineSettings, assignment.config, assignment.device)
        return LlamaCppPlan(assignment.files, settings)
