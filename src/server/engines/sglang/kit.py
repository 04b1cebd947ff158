"""SGLang as the preparation of models knows it: what it runs, what it takes, how it is started."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Final

from ...contract.engine_settings import Device, ModelFiles, ModelFormat
from ...contract.load_progress import ReportProgress
from ...contract.model_id import DEFAULT_MODEL, GGUF_FORM, ModelId
from ...settings.server_config import ServerConfig
from ..kit import Assignment, Demand, NoEngine, Offer, Placement, read_settings
from .front.launcher import SglangLauncher
from .plan.checkpoint import Checkpoint, read_checkpoint
from .plan.gguf_architectures import find_gguf_obstacle
from .plan.memory import CPU_PROCESS_BYTES, FLOAT32_MAX_BYTES, work_bytes
from .plan.refusals import find_notices, find_refusal
from .settings import SglangSettings

_DP_ATTENTION: Final = "--enable-dp-attention"


@dataclass(frozen=True, slots=True)
class SglangPlan:
    """One model on SGLang; `checkpoint` is what was read of its files, this once."""

    files: ModelFiles
    settings: SglangSettings
    checkpoint: Checkpoint

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of the adapters that belong to the model."""
        return tuple(self.settings.lora_adapters)

    @property
    def obstacle(self) -> str | None:
        """Why it cannot run a GGUF file on a GPU."""
        if self.files.format is not ModelFormat.GGUF or self.settings.device is not Device.CUDA:
            return None
        return find_gguf_obstacle(self.files, self.checkpoint)

    def find_refusal(self) -> str | None:
        """Returns why it cannot run as it is configured, but for scales of the KV cache.

        Whether those fit depends on the number of GPUs: the launcher looks at them.
        """
        settings = replace(self.settings, kv_cache_scales=None)
        return find_refusal(self.files, settings, self.checkpoint)

    def find_notices(self) -> list[str]:
        """Says what becomes of settings that are not followed to the letter."""
        return find_notices(self.files, self.settings, self.checkpoint)

    def demand(self, num_gpus: int) -> Demand:
        """Computes what the model takes of each device."""
        weight_bytes = self.checkpoint.weight_bytes
        sizes: tuple[int, ...] = ()
        if self.settings.device is Device.CUDA:
            sizes = self._numbers_of_gpus(num_gpus)
            # Its steps grow with its share, and that is never less than the weights.
            share = replace(self.settings, memory_bytes=weight_bytes // sizes[0])
            fixed_bytes = work_bytes(share)
        else:
            fixed_bytes = CPU_PROCESS_BYTES
            if weight_bytes <= FLOAT32_MAX_BYTES:
                weight_bytes *= 2  # 16 bits a weight in the file, 32 in memory
        return Demand(
            self.files.model_id,
            self.settings.device,
            weight_bytes,
            fixed_bytes,
            sizes,
            num_copies=self._num_copies,
        )

    def launcher(self, placement: Placement) -> SglangLauncher:
        """Returns what starts it on its GPUs, its layers cut into as many parts as there are."""
        return SglangLauncher(self.files, self.settings_at(placement), self.checkpoint)

    def settings_at(self, placement: Placement) -> SglangSettings:
        """Adds the model's share of the devices to its settings."""
        groups = self.settings.pp_size * self._num_copies
        return replace(
            self.settings,
            memory_bytes=placement.memory_bytes,
            gpu_ids=placement.gpu_ids,
            tp_size=self.settings.tp_size or max(1, len(placement.gpu_ids) // groups),
        )

    def _numbers_of_gpus(self, num_gpus: int) -> tuple[int, ...]:
        settings = self.settings
        groups = settings.pp_size * self._num_copies
        if settings.tp_size is not None:
            return (max(1, settings.tp_size * groups // settings.nnodes),)
        sizes = self.checkpoint.layer.tensor_parallel_sizes(num_gpus // groups)
        return tuple(size * groups for size in sizes) or (groups,)

    @property
    def _num_copies(self) -> int:
        # With attention in parallel the copies share the GPUs of one.
        return 1 if _DP_ATTENTION in self.settings.extra_args else self.settings.dp_size


class SglangKit:
    """See `EngineKit`."""

    kind = "sglang"
    name = "SGLang"
    module = "sglang"
    settings = SglangSettings
    only_gguf = False

    def offer(self, model: ModelId, *, uses_gpu: bool) -> Offer:
        """Offers to run safetensors everywhere, and GGUF files on a GPU."""
        device = Device.CUDA if uses_gpu else Device.CPU
        if model == DEFAULT_MODEL:
            reason = f"the built-in model runs on {self.name} where there is a GPU"
            return Offer(device, 0 if uses_gpu else 1, reason)
        if not model.is_gguf:
            instead = f"name a GGUF file ({GGUF_FORM}), which runs on llama.cpp"
            return Offer(device, 0, "it runs safetensors weights", instead)
        if model.projector:
            raise NoEngine(
                f"LLM_ENGINE=sglang, but SGLang reads no projector and '{model}' names one: use "
                "LLM_ENGINE=llamacpp, or an id of the form owner/repo"
            )
        if not uses_gpu:
            raise NoEngine(
                f"LLM_ENGINE=sglang, but SGLang reads GGUF files on a GPU only and '{model}' would "
                "run on a CPU: use LLM_ENGINE=llamacpp, or an id of the form owner/repo"
            )
        return Offer(device, 0, "it runs GGUF files on a GPU")

    def not_honoured(self, config: ServerConfig, device: Device) -> list[str]:
        """Says what needs a GPU."""
        notices: list[str] = []
        if config.has_fp8_kv_cache and device is not Device.CUDA:
            notices.append(
                f"LLM_PAGED_CACHE_TYPE={config.paged_cache_type.value}: an FP8 KV cache needs "
                "SGLang on a GPU; it keeps the model's own type"
            )
        if config.lora_adapters and device is not Device.CUDA:
            notices.append(
                "LLM_LORA_ADAPTERS needs SGLang on a GPU; the model runs without adapters"
            )
        return notices

    async def plan(self, assignment: Assignment, report: ReportProgress) -> SglangPlan:
        """Reads the checkpoint, and finds the draft model and the adapters."""
        files = assignment.files
        settings = read_settings(SglangSettings, assignment.config, assignment.device)
        plan = SglangPlan(files, settings, await asyncio.to_thread(read_checkpoint, files))
        if plan.obstacle is not None:
            return plan  # nothing is fetched for what does not run
        if settings.speculative_draft_model is not None:
            draft = await assignment.finder.find(settings.speculative_draft_model, report)
            settings = replace(settings, speculative_draft_model_path=draft.path)
        if settings.device is Device.CUDA:  # its LoRA layers need CUDA
            adapters = await assignment.adapters.find(assignment.model, report)
            settings = replace(settings, lora_adapters=adapters)
        return replace(plan, settings=settings)
