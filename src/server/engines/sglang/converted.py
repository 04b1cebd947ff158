"""GGUF files as safetensors, converted once and kept in the user's cache."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from ...engine import LoadProgress, ReportProgress
from ...engine_settings import ModelFiles, ModelFormat
from ...errors import ModelLoadFailed
from .cpu import cpu_environment
from .host_process import Complaints, child_command

CONVERT_MODULE: Final = f"{__package__}.convert"
COMPLETE_MARK: Final = "config.json"


async def provide_converted(files: ModelFiles, report: ReportProgress) -> ModelFiles:
    """Gives the safetensors of a GGUF file, converting it the first time.

    Raises:
        ModelLoadFailed: the file cannot be converted.
    """
    report(LoadProgress("looking for the converted model"))
    folder = await asyncio.to_thread(converted_folder, files.path, os.environ)
    if not (folder / COMPLETE_MARK).is_file():
        await _convert(files.path, folder, report)
    return replace(files, format=ModelFormat.SAFETENSORS, path=folder, tokenizer=None)


def converted_folder(source: Path, environment: Mapping[str, str]) -> Path:
    """Names the folder for a file's contents, so that a changed file is converted anew."""
    cache = environment.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    with source.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Path(cache) / "tokenwire" / "converted" / f"{source.stem}-{digest[:16]}"


async def _convert(source: Path, folder: Path, report: ReportProgress) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside its final place, so that the last step is one rename: nobody sees half a model.
    partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        await _run_conversion(source, partial, report)
        await asyncio.to_thread(_keep, partial, folder)
    finally:
        await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)


def _keep(partial: Path, folder: Path) -> None:
    with contextlib.suppress(OSError):  # not empty: another front was faster
        partial.rename(folder)
    if not (folder / COMPLETE_MARK).is_file():
        raise ModelLoadFailed(f"the converted model could not be kept in {folder.parent}")


async def _run_conversion(source: Path, target: Path, report: ReportProgress) -> None:
    environment = dict(os.environ) | cpu_environment(None) | {"HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    process = await asyncio.create_subprocess_exec(
        *child_command(CONVERT_MODULE, str(source), str(target)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    complaints = Complaints()

    async def read_complaints(stream: asyncio.StreamReader) -> None:
        while data := await stream.read(1 << 16):  # ends with the process
            complaints.feed(data)

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(read_complaints(process.stderr))
            async for line in process.stdout:  # ends with the process
                report(LoadProgress(f"converting to safetensors: {line.decode().strip()}"))
        status = await process.wait()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    if status != 0:
        why = complaints.telling_line() or f"status {status}"
        raise ModelLoadFailed(f"the GGUF file cannot be converted to safetensors: {why}")
