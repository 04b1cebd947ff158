"""SGLang as the front knows it: a launcher of engines for one model."""

from __future__ import annotations

import asyncio
import importlib.util
import os

from ...engine import LoadProgress, ModelInfo, ReportProgress
from ...engine_settings import Device, EngineSettings, ModelFiles, ModelFormat
from ...errors import ModelLoadFailed
from ...model_id import DEFAULT_MODEL
from .arguments import count_weight_bytes, read_max_position, server_arguments
from .converted import provide_converted
from .cpu import cpu_environment
from .frames import (
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
from .host_process import HostProcess
from .remote_engine import SglangEngine

HOST_MODULE = f"{__package__}.host"


class SglangLauncher:
    """Starts SGLang in a process group of its own, as often as asked."""

    def __init__(self, files: ModelFiles, settings: EngineSettings) -> None:
        self._files = files
        self._settings = settings

    async def launch(self, report: ReportProgress) -> SglangEngine:
        """Starts a host, loads the model and answers one warm-up request."""
        if importlib.util.find_spec("sglang") is None:
            raise ModelLoadFailed("SGLang is not installed; the extra 'sglang' brings it")
        try:
            async with asyncio.timeout(self._settings.load_timeout_s):
                files = await self._loadable_files(report)
                return await self._start(files, report)
        except TimeoutError:
            raise ModelLoadFailed(
                f"SGLang was not ready within {self._settings.load_timeout_s:g} s"
            ) from None

    async def _loadable_files(self, report: ReportProgress) -> ModelFiles:
        """Converts where SGLang cannot read the format: its GGUF kernels need a GPU."""
        files = self._files
        if files.format is not ModelFormat.GGUF or self._settings.device is not Device.CPU:
            return files
        # Others would cost more than they give: llama.cpp runs them as they are.
        if files.model_id != DEFAULT_MODEL.repo:
            raise ModelLoadFailed(
                "SGLang reads GGUF files on a GPU only; use llama.cpp, or the id of the model's "
                "safetensors"
            )
        return await provide_converted(files, report)

    async def _start(self, files: ModelFiles, report: ReportProgress) -> SglangEngine:
        on_cpu = self._settings.device is Device.CPU
        arguments = server_arguments(
            files,
            self._settings,
            weight_bytes=count_weight_bytes(files.path),
            max_position=read_max_position(files.path),
        )
        host = HostProcess.start(HOST_MODULE, self._environment())
        try:
            reader, writer = await host.connect()
        except BaseException:
            await host.end()
            raise
        try:
            writer.write(encode_frame([Begin(arguments, on_cpu, files.format.value)]))
            info = await _wait_ready(host, reader, report)
            # Now, because a group that dies by itself can no longer be looked at.
            await host.note_leftovers()
            return SglangEngine(host, reader, writer, info)
        except BaseException:
            await host.end()
            writer.close()
            raise

    def _environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        # Without compiled modules every one of three processes compiles thousands of files.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        # SGLang makes a folder of its own where it counts.
        environment.pop("PROMETHEUS_MULTIPROC_DIR", None)
        environment["HF_HUB_OFFLINE"] = "1"  # the files are here
        if self._settings.device is Device.CPU:
            environment |= cpu_environment(self._settings.num_threads)
        return environment


async def _wait_ready(
    host: HostProcess, reader: asyncio.StreamReader, report: ReportProgress
) -> ModelInfo:
    try:
        while True:  # ends with the host, or with the deadline of the launch
            for message in await read_frame(reader, REPORTS):
                match message:
                    case Loading():
                        report(LoadProgress(message.step, message.fraction))
                    case Ready():
                        return message.info
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
    why = host.complaints.telling_line(beside=what)
    return ModelLoadFailed(f"{what} ({why})" if why else what)
