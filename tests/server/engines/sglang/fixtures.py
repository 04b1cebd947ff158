"""One SGLang for the whole test run, and one that dies."""

from __future__ import annotations

import asyncio
import os
import re
import select
import signal
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio
from tokenwire.server.contract.engine import EngineStatus
from tokenwire.server.contract.engine_settings import (
    Device,
    ModelFiles,
    ModelFormat,
)
from tokenwire.server.contract.errors import InferenceError
from tokenwire.server.engines.sglang.front.engine import SglangEngine
from tokenwire.server.engines.sglang.front.launcher import SglangLauncher
from tokenwire.server.engines.sglang.plan.checkpoint import read_checkpoint
from tokenwire.server.engines.sglang.settings import SglangSettings

from ..contract import GREEDY, HANG_S, MAX_MODEL_LEN, MAX_RUNNING, STORY, request_for


def launcher_for(files: ModelFiles, settings: SglangSettings) -> SglangLauncher:
    """A launcher as preparation makes it."""
    return SglangLauncher(files, settings, read_checkpoint(files))


MODEL_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.fixture(scope="session")
def sglang_model_files(gguf_file: Path) -> ModelFiles:
    """The built-in model as it comes: SGLang converts it, and keeps it in the user's cache."""
    return ModelFiles(MODEL_ID, ModelFormat.GGUF, gguf_file)


@pytest.fixture(scope="session")
def sglang_settings() -> SglangSettings:
    return SglangSettings(
        Device.CPU, max_running=MAX_RUNNING, max_model_len=MAX_MODEL_LEN, prefix_caching=True
    )


@pytest.fixture(scope="session")
def sglang_engine_launcher(
    sglang_model_files: ModelFiles, sglang_settings: SglangSettings
) -> SglangLauncher:
    return launcher_for(sglang_model_files, sglang_settings)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sglang_engine(sglang_engine_launcher: SglangLauncher) -> AsyncIterator[SglangEngine]:
    """Launched once: a start takes half a minute of imports."""
    engine = await sglang_engine_launcher.launch(lambda _: None)
    yield engine
    await engine.close()


@dataclass(frozen=True, slots=True)
class Death:
    """What a front sees when a process of its engine is killed."""

    engine: SglangEngine
    stream_error: InferenceError
    status_error: InferenceError
    why_lost: str
    num_left: int
    files_made: list[Path]


async def launch_and_kill_scheduler(launcher: SglangLauncher) -> Death:
    """Kills the scheduler with -9 in the middle of a stream; closes."""
    before = set(_temporary_folders())
    engine = await launcher.launch(lambda _: None)
    try:
        rendered = await engine.render(STORY)
        params = replace(GREEDY, max_tokens=900, ignore_eos=True)
        async with (
            asyncio.timeout(HANG_S),
            aclosing(engine.generate(request_for(rendered, params))) as events,
        ):
            await anext(events)
            files_made = sorted(
                {*_temporary_folders()} - before | _shared_memory(group_members(engine.pid))
            )
            os.kill(find_process(engine.pid, "scheduler"), signal.SIGKILL)
            stream_error = await error_of(_read_all(events))
            status_error = await error_of(engine.status())
            why_lost = await engine.wait_lost()
    finally:
        async with asyncio.timeout(HANG_S):
            await engine.close()
    num_left = len(group_members(engine.pid))
    return Death(engine, stream_error, status_error, why_lost, num_left, files_made)


def _temporary_folders() -> Iterable[Path]:
    return Path(tempfile.gettempdir()).glob("tokenwire-sglang-*")


def _shared_memory(pids: Iterable[int]) -> set[Path]:
    """Files of shared memory that a process has mapped; those of other programs are not meant."""
    maps = "".join(Path(f"/proc/{pid}/maps").read_text() for pid in pids)
    return {path for path in Path("/dev/shm").iterdir() if str(path) in maps}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sglang_without_scheduler(sglang_engine_launcher: SglangLauncher) -> Death:
    """An engine whose scheduler was killed, closed since."""
    return await launch_and_kill_scheduler(sglang_engine_launcher)


async def _read_all(events: AsyncIterator[object]) -> EngineStatus:
    async for _ in events:
        pass
    raise AssertionError("the stream ended as if nothing had happened")


async def error_of(answer: object) -> InferenceError:
    try:
        await answer  # type: ignore[misc] # any awaitable
    except InferenceError as error:
        return error
    raise AssertionError("no error came")


@dataclass(frozen=True, slots=True)
class Process:
    """A line of the process table."""

    pid: int
    parent: int
    group: int
    command: str


def processes() -> list[Process]:
    """All processes but zombies, which only wait to be counted by their parent."""
    found: list[Process] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue  # it ended meanwhile
        # Behind the name, which may hold anything: state, parent, group.
        state, parent, group = stat.rpartition(")")[2].split()[:3]
        if state not in "ZX":
            found.append(Process(int(folder.name), int(parent), int(group), command))
    return found


def group_members(group: int) -> dict[int, str]:
    """Process ids of a process group, with what they call themselves."""
    return {process.pid: process.command for process in processes() if process.group == group}


def child_groups(parent: int) -> set[int]:
    """Process groups that are led by a child of `parent`."""
    return {
        process.pid
        for process in processes()
        if process.parent == parent and process.group == process.pid
    }


def find_process(group: int, name: str) -> int:
    """The one process of a group that calls itself `name`."""
    (pid,) = (
        pid for pid, command in group_members(group).items() if re.search(rf"\b{name}", command)
    )
    return pid


async def wait_ended(pids: list[int]) -> None:
    """Waits until all the processes have ended, whoever their parent is."""

    def wait() -> None:
        for pid in pids:
            try:
                descriptor = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            try:
                assert select.select([descriptor], [], [], HANG_S)[0], f"{pid} lives on"
            finally:
                os.close(descriptor)

    await asyncio.to_thread(wait)
