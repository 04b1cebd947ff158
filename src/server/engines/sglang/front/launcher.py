"""SGLang as the front knows it: a launcher of engines for one model."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ....contract.engine import LoadProgress, ReportProgress
from ....contract.engine_settings import Device, EngineSettings, ModelFiles, ModelFormat
from ....contract.errors import ModelLoadFailed
from ....contract.model_id import DEFAULT_MODEL
from ....machine.gpus import VISIBLE_DEVICES, visible_gpus
from ....machine.host_resources import measure_host
from ..cpu import cpu_environment
from ..frames import (
    REPORTS,
    Begin,
    EngineDead,
    FrameError,
    LoadFailed,
    Loading,
    Ready,
    encode_frame,
    read_frame,
)
from ..plan.arguments import server_arguments
from ..plan.checkpoint import read_checkpoint
from ..plan.gguf_architectures import configuration_overrides, read_overrides
from ..plan.kv_scales import has_scales
from ..plan.memory import page_size
from ..plan.refusals import decide_quantization, find_refusal
from ..versions import installed_version
from .bytecode import bytecode_environment
from .converted import provide_converted, provide_described
from .engine import SglangEngine
from .host_process import HostProcess

logger = logging.getLogger(__name__)

HOST_MODULE = __name__.replace(".front.launcher", ".host.host")


class SglangLauncher:
    """Starts SGLang in a process group of its own, as often as asked."""

    def __init__(self, files: ModelFiles, settings: EngineSettings) -> None:
        self._files = files
        self._settings = settings

    async def launch(self, report: ReportProgress) -> SglangEngine:
        """Starts a host, loads the model and answers one warm-up request."""
        if importlib.util.find_spec("sglang") is None:
            raise ModelLoadFailed("SGLang is not installed; the extra 'sglang' brings it")
        refusal = await asyncio.to_thread(find_refusal, self._files, self._settings)
        if refusal is not None:
            raise ModelLoadFailed(refusal)
        # Another machine than the first computes for that one, and is never ready itself.
        is_first = self._settings.sglang.node_rank == 0
        try:
            async with asyncio.timeout(self._settings.load_timeout_s if is_first else None):
                files = await self._loadable_files(report)
                return await self._start(files, report)
        except TimeoutError:
            raise ModelLoadFailed(
                f"SGLang was not ready within {self._settings.load_timeout_s:g} s"
            ) from None

    async def _loadable_files(self, report: ReportProgress) -> ModelFiles:
        """Prepares a GGUF file: converted for a CPU, for which SGLang lacks the kernels."""
        files = self._files
        if files.format is not ModelFormat.GGUF:
            return files
        if self._settings.device is not Device.CPU:
            overrides = await asyncio.to_thread(self._gguf_overrides)
            return await provide_described(files, overrides, report)
        # Others would cost more than they give: llama.cpp runs them as they are.
        if files.model_id != DEFAULT_MODEL.repo:
            raise ModelLoadFailed(
                "SGLang reads GGUF files on a GPU only; use llama.cpp, or the id of the model's "
                "safetensors"
            )
        return await provide_converted(files, report)

    def _gguf_overrides(self) -> Mapping[str, Any]:
        return configuration_overrides(read_checkpoint(self._files).architecture)

    async def _start(self, files: ModelFiles, report: ReportProgress) -> SglangEngine:
        begin = await asyncio.to_thread(self._begin, files)
        host = HostProcess.start(HOST_MODULE, self._environment())
        try:
            reader, writer = await host.connect()
        except BaseException:
            await host.end()
            raise
        try:
            writer.write(encode_frame([begin]))
            ready = await _wait_ready(host, reader, report)
            logger.info(
                "KV pool of %d tokens, of which one request may have %d",
                ready.num_pool_tokens,
                ready.info.context_length,
            )
            # Now, because a group that dies by itself can no longer be looked at.
            await host.note_leftovers()
            return SglangEngine(host, reader, writer, ready)
        except BaseException:
            await host.end()
            writer.close()
            raise

    def _begin(self, files: ModelFiles) -> Begin:
        """Looks at files and devices, and spells the settings for the host. Blocks."""
        settings = self._settings
        on_cpu = settings.device is Device.CPU
        checkpoint = read_checkpoint(files)
        quantization = decide_quantization(files, settings, checkpoint).quantization
        settings = replace(settings, page_size=page_size(settings, installed_version()))
        arguments = server_arguments(
            files,
            settings,
            checkpoint,
            quantization=quantization,
            free_bytes=measure_host().available_bytes if on_cpu else self._free_gpu_bytes(),
        )
        if files.format is ModelFormat.GGUF:
            # Also told by the configuration beside the file, but 0.5.17 does not look there.
            arguments["json_model_override_args"] = json.dumps(read_overrides(files.path.parent))
        return Begin(
            arguments,
            on_cpu,
            files.format.value,
            extra_args=settings.sglang.extra_args,
            weight_quantization=quantization.value,
            has_kv_cache_scales=has_scales(files.path, settings.kv_cache_scales, checkpoint),
            lora_adapters=tuple(settings.lora_adapters),
        )

    def _free_gpu_bytes(self) -> int | None:
        """Returns what is free on the model's GPUs, on the one with the least."""
        gpus = visible_gpus(self._environment())
        return min((gpu.free_bytes for gpu in gpus), default=None)

    def _environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        # Without compiled modules every one of three processes compiles thousands of files.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        spec = importlib.util.find_spec("sglang")
        if spec is not None and spec.origin is not None:
            environment |= bytecode_environment(Path(spec.origin).parent, environment)
        # SGLang makes a folder of its own where it counts.
        environment.pop("PROMETHEUS_MULTIPROC_DIR", None)
        environment["HF_HUB_OFFLINE"] = "1"  # the files are here
        if self._settings.device is Device.CPU:
            environment |= cpu_environment(self._settings.num_threads)
            return environment
        # So that a number means the GPU that nvidia-smi, and NVML, give that number.
        environment.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        if self._settings.gpu_ids:
            environment[VISIBLE_DEVICES] = ",".join(self._settings.gpu_ids)
        return environment


async def _wait_ready(
    host: HostProcess, reader: asyncio.StreamReader, report: ReportProgress
) -> Ready:
    try:
        while True:  # ends with the host, or with the deadline of the launch
            for message in await read_frame(reader, REPORTS):
                match message:
                    case Loading():
                        report(LoadProgress(message.step, message.fraction))
                    case Ready():
                        return message
                    case LoadFailed():
                        raise _load_failed(host, message.message)
                    case EngineDead():
                        raise _load_failed(host, message.description)
                    case _:
                        raise FrameError(f"unexpected {type(message).__name__}")
    except (asyncio.IncompleteReadError, ConnectionError):
        await host.end()  # so that everything it wrote has been read
        raise _load_failed(host, "the engine's host ended while it loaded the model") from None
    except FrameError as error:
        raise _load_failed(host, f"the engine's host could not be understood: {error}") from error


def _load_failed(host: HostProcess, what: str) -> ModelLoadFailed:
    return ModelLoadFailed(host.complaints.explain(what))
