"""SGLang as the front knows it: a launcher of engines for one model."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
from dataclasses import replace
from pathlib import Path

from ....contract.engine_settings import Device, ModelFiles, ModelFormat
from ....contract.errors import LoadKilled, ModelLoadFailed
from ....contract.load_progress import ReportProgress
from ....contract.model_id import DEFAULT_MODEL
from ....machine.gpus import VISIBLE_DEVICES, visible_gpus
from ....machine.host_resources import measure_host
from ..cpu import cpu_environment
from ..frames import FrameError, encode_frame, read_frame
from ..grammar_backend import ASKED_VARIABLE as GRAMMARS_VARIABLE
from ..messages import REPORTS, Begin, EngineDead, LoadFailed, Loading, Ready
from ..plan.arguments import server_arguments
from ..plan.checkpoint import Checkpoint, read_checkpoint
from ..plan.gguf_architectures import LOADABLE, read_overrides
from ..plan.kv_scales import has_scales
from ..plan.memory import page_size
from ..plan.refusals import decide_quantization, find_refusal
from ..settings import SglangSettings
from ..versions import installed_version
from .bytecode import bytecode_environment
from .converted import provide_converted, provide_described
from .engine import SglangEngine
from .host_process import HostProcess

_logger = logging.getLogger(__name__)

LOGGING_CONFIG = Path(__file__).parents[1] / "host" / "logging.json"
HOST_MODULE = __name__.replace(".front.launcher", ".host.host")


class SglangLauncher:
    """Starts SGLang in a process group of its own, as often as asked.

    `checkpoint` is what was read from `files`.
    """

    def __init__(self, files: ModelFiles, settings: SglangSettings, checkpoint: Checkpoint) -> None:
        self._files = files
        self._settings = settings
        self._checkpoint = checkpoint

    async def launch(self, report: ReportProgress) -> SglangEngine:
        """Starts a host, loads the model and answers one warm-up request."""
        if importlib.util.find_spec("sglang") is None:
            raise ModelLoadFailed("SGLang is not installed; the extra 'sglang' brings it")
        refusal = await asyncio.to_thread(
            find_refusal, self._files, self._settings, self._checkpoint
        )
        if refusal is not None:
            raise ModelLoadFailed(refusal)
        # Another machine than the first computes for that one, and is never ready itself.
        is_first = self._settings.node_rank == 0
        try:
            async with asyncio.timeout(self._settings.load_timeout_s if is_first else None):
                files, checkpoint = await self._prepare_gguf(report)
                begin = await asyncio.to_thread(self._begin, files, checkpoint)
                return await self._start(begin, report)
        except TimeoutError:
            raise ModelLoadFailed(
                f"SGLang was not ready within {self._settings.load_timeout_s:g} s"
            ) from None

    async def _prepare_gguf(self, report: ReportProgress) -> tuple[ModelFiles, Checkpoint]:
        """Prepares a GGUF file: converted for a CPU, for which SGLang lacks the kernels."""
        files, checkpoint = self._files, self._checkpoint
        if files.format is not ModelFormat.GGUF:
            return files, checkpoint
        if self._settings.device is not Device.CPU:
            overrides = LOADABLE[checkpoint.architecture]  # others are refused above
            return await provide_described(files, overrides, report), checkpoint
        # Others would cost more than they give: llama.cpp runs them as they are.
        if files.model_id != DEFAULT_MODEL.repo:
            raise ModelLoadFailed(
                "SGLang reads GGUF files on a GPU only; use llama.cpp, or the id of the model's "
                "safetensors"
            )
        files = await provide_converted(files, report)
        return files, await asyncio.to_thread(read_checkpoint, files)

    async def _start(self, begin: Begin, report: ReportProgress) -> SglangEngine:
        host = HostProcess.start(HOST_MODULE, self._environment(), self._files.model_id)
        try:
            reader, writer = await host.connect()
        except BaseException:
            await host.end()
            raise
        try:
            writer.write(encode_frame([begin]))
            ready = await self._wait_ready(host, reader, report)
            _logger.info(
                "kv_pool",
                extra={
                    "num_tokens": ready.num_pool_tokens,
                    "context_length": ready.info.context_length,
                },
            )
            # Now, because a group that dies by itself can no longer be looked at.
            await host.record_leftovers()
            return SglangEngine(host, reader, writer, ready)
        except BaseException:
            await host.end()
            writer.close()
            raise

    def _begin(self, files: ModelFiles, checkpoint: Checkpoint) -> Begin:
        """Looks at files and devices, and spells the settings for the host. Blocks."""
        settings = self._settings
        on_cpu = settings.device is Device.CPU
        gpus = () if on_cpu else visible_gpus(self._environment())
        quantization = decide_quantization(files, settings, checkpoint).quantization
        settings = replace(settings, page_size=page_size(settings, installed_version()))
        arguments = server_arguments(
            files,
            settings,
            checkpoint,
            quantization=quantization,
            # On GPUs what is free on the one with the least.
            free_bytes=(
                measure_host().available_bytes
                if on_cpu
                else min((gpu.free_bytes for gpu in gpus), default=None)
            ),
        )
        if files.format is ModelFormat.GGUF:
            # Also told by the configuration beside the file, but 0.5.17 does not look there.
            arguments["json_model_override_args"] = json.dumps(read_overrides(files.path.parent))
        return Begin(
            arguments,
            on_cpu,
            files.format.value,
            extra_args=settings.extra_args,
            weight_quantization=quantization.value,
            has_kv_cache_scales=has_scales(files.path, settings.kv_cache_scales, checkpoint),
            lora_adapters=tuple(settings.lora_adapters),
            gpu_ids=tuple(gpu.gpu_id for gpu in gpus),
            tool_parser=settings.tool_parser,
            reasoning_parser=settings.reasoning_parser,
            special_tokens_in_text=settings.special_tokens_in_text,
        )

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
        # Log-probabilities of the model, as llama.cpp's: otherwise the temperature is in them.
        environment["SGLANG_RETURN_ORIGINAL_LOGPROB"] = "1"
        environment[GRAMMARS_VARIABLE] = "1"
        # Warnings of grammars hold their text.
        environment["LLGUIDANCE_LOG_LEVEL"] = "0"
        # Its own form does not tell the level of a line.
        environment.setdefault("SGLANG_LOGGING_CONFIG_PATH", str(LOGGING_CONFIG))
        if self._settings.device is Device.CPU:
            environment |= cpu_environment(self._settings.num_threads)
            return environment
        # So that a number means the GPU that nvidia-smi, and NVML, give that number.
        environment.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        if self._settings.gpu_ids:
            environment[VISIBLE_DEVICES] = ",".join(self._settings.gpu_ids)
        return environment

    async def _wait_ready(
        self, host: HostProcess, reader: asyncio.StreamReader, report: ReportProgress
    ) -> Ready:
        try:
            while True:  # ends with the host, or with the deadline of the launch
                for message in await read_frame(reader, REPORTS):
                    match message:
                        case Loading(progress):
                            report(progress)
                        case Ready():
                            return message
                        case LoadFailed(message="", detail=detail, was_killed=was_killed):
                            raise self._load_failed(host, detail, was_killed=was_killed)
                        case LoadFailed(message=words, detail=detail):
                            raise ModelLoadFailed(words, detail=detail)
                        case EngineDead():
                            raise self._load_failed(host, message.reason)
                        case _:
                            raise FrameError(f"unexpected {type(message).__name__}")
        except (asyncio.IncompleteReadError, ConnectionError):
            is_killed = await host.is_killed()
            await host.end()  # so that everything it wrote has been read
            # Without a word it did not end itself.
            was_killed = is_killed and not host.output.last_error()
            why = "the engine's host ended"
            raise self._load_failed(host, why, was_killed=was_killed) from None
        except FrameError as error:
            raise self._load_failed(host, f"its host was not understood: {error}") from error

    def _load_failed(
        self, host: HostProcess, why: str, *, was_killed: bool = False
    ) -> ModelLoadFailed:
        kind = LoadKilled if was_killed else ModelLoadFailed
        return kind(
            "SGLang cannot load the model, whose architecture is "
            f"'{self._checkpoint.architecture}'; the server's log has its own words",
            detail=host.output.explain(why),
        )
