"""What SGLang needs beside a GGUF file or in its place, made once and kept in the user's cache."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ....contract.engine_settings import ModelFiles, ModelFormat
from ....contract.errors import ModelLoadFailed
from ....contract.load_progress import LoadProgress, ReportProgress
from ....contract.user_cache import user_cache
from ..cpu import cpu_environment
from .host_process import child_command
from .output_tail import OutputTail

CONVERT_MODULE: Final = f"{__package__}.convert"
COMPLETE_MARK: Final = "config.json"
DESCRIBED_NAME: Final = "model.gguf"


async def provide_converted(files: ModelFiles, report: ReportProgress) -> ModelFiles:
    """Gives the safetensors of a GGUF file, converting it the first time.

    Raises:
        ModelLoadFailed: the file cannot be converted.
    """
    report(LoadProgress("looking for the converted model"))
    folder = await asyncio.to_thread(converted_folder, files.path, os.environ)
    if not (folder / COMPLETE_MARK).is_file():
        await _make(folder, files, (), report, "converting to safetensors")
    return replace(files, format=ModelFormat.SAFETENSORS, path=folder, tokenizer=None)


async def provide_described(
    files: ModelFiles, overrides: Mapping[str, Any], report: ReportProgress
) -> ModelFiles:
    """Gives a GGUF file with configuration and tokenizer of its own beside it, as SGLang reads it.

    SGLang 0.5.23 fails to read the tokenizer inside a file, and takes Mistral's configuration by
    a name that its loader does not know. `overrides` are set in the configuration.

    Raises:
        ModelLoadFailed: configuration or tokenizer cannot be read.
    """
    report(LoadProgress("looking for the file's configuration"))
    folder = await asyncio.to_thread(described_folder, files.path, os.environ)
    if not (folder / COMPLETE_MARK).is_file():
        words = (json.dumps(dict(overrides)),)
        await _make(folder, files, words, report, "reading the file's configuration")
    link = folder / DESCRIBED_NAME
    with contextlib.suppress(FileExistsError):
        link.symlink_to(files.path.resolve())
    return replace(files, path=link, tokenizer=files.tokenizer or folder)


def converted_folder(source: Path, environment: Mapping[str, str]) -> Path:
    """Names the folder for a file's contents, so that a changed file is converted anew."""
    with source.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return _cache(environment) / "converted" / f"{source.stem}-{digest[:16]}"


def described_folder(source: Path, environment: Mapping[str, str]) -> Path:
    """Names the folder for a file's place, size and time: it may be too large to be read twice."""
    state = source.stat()
    words = f"{source.resolve()} {state.st_size} {state.st_mtime_ns}"
    digest = hashlib.sha256(words.encode()).hexdigest()
    return _cache(environment) / "described" / f"{source.stem}-{digest[:16]}"


def _cache(environment: Mapping[str, str]) -> Path:
    return user_cache(environment.get("XDG_CACHE_HOME")) / "tokenwire"


async def _make(
    folder: Path, files: ModelFiles, words: Sequence[str], report: ReportProgress, step: str
) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside its final place, so that the last step is one rename: nobody sees half a model.
    partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        await _run(partial, files, words, report, step)
        await asyncio.to_thread(_keep, partial, folder)
    finally:
        await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)


def _keep(partial: Path, folder: Path) -> None:
    with contextlib.suppress(OSError):  # not empty: another front was faster
        partial.rename(folder)
    if not (folder / COMPLETE_MARK).is_file():
        raise ModelLoadFailed(
            "the converted model could not be kept in the user's cache (XDG_CACHE_HOME)",
            detail=f"{folder} was not made",
        )


async def _run(
    target: Path, files: ModelFiles, words: Sequence[str], report: ReportProgress, step: str
) -> None:
    environment = dict(os.environ) | cpu_environment(None) | {"HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    process = await asyncio.create_subprocess_exec(
        *child_command(CONVERT_MODULE, str(target), str(files.path), *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    output = OutputTail(files.model_id)

    async def read_output(stream: asyncio.StreamReader) -> None:
        while data := await stream.read(1 << 16):  # ends with the process
            output.feed(data)
        output.end()

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(read_output(process.stderr))
            async for line in process.stdout:  # ends with the process
                report(LoadProgress(f"{step}: {line.decode().strip()}"))
        status = await process.wait()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    if status != 0:
        raise ModelLoadFailed(
            f"{step}: transformers cannot read the GGUF file; the server's log has the reason",
            detail=output.last_error() or f"{CONVERT_MODULE} ended with status {status}",
        )
