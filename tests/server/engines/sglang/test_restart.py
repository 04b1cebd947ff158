"""SGLang's processes die, and nothing hangs or stays behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tokenwire.server.contract.engine_settings import (
    Device,
    ModelFiles,
    ModelFormat,
)
from tokenwire.server.contract.errors import EngineLost, ModelLoadFailed
from tokenwire.server.contract.load_progress import LoadProgress
from tokenwire.server.engines.sglang.settings import SglangSettings

from ..contract import HANG_S
from .fixtures import Death, child_groups, group_members, launcher_for, wait_ended

FRONT = """
import asyncio, sys
from pathlib import Path
from tokenwire.server.contract.engine_settings import Device, ModelFiles, ModelFormat
from tokenwire.server.engines.sglang.front.launcher import SglangLauncher
from tokenwire.server.engines.sglang.plan.checkpoint import read_checkpoint
from tokenwire.server.engines.sglang.settings import SglangSettings

files = ModelFiles("some/model", ModelFormat.SAFETENSORS, Path(sys.argv[1]))
launcher = SglangLauncher(files, SglangSettings(Device.CPU, 1), read_checkpoint(files))
asyncio.run(launcher.launch(lambda progress: print(progress.step, flush=True)))
"""


# A start of its own for both, which the host's death has, too: tests/system/test_sglang_restart.py.
@pytest.mark.faults
def test_scheduler_death(sglang_without_scheduler: Death) -> None:
    """A killed scheduler ends its streams with EngineLost, and its group is gone after close."""
    death = sglang_without_scheduler
    assert isinstance(death.stream_error, EngineLost)
    assert isinstance(death.status_error, EngineLost)
    assert "scheduler" in death.why_lost
    assert death.num_left == 0


@pytest.mark.faults
def test_death_leaves_no_files(sglang_without_scheduler: Death) -> None:
    """A killed engine leaves neither shared memory nor temporary files behind."""
    assert sglang_without_scheduler.files_made
    assert [path for path in sglang_without_scheduler.files_made if path.exists()] == []


@pytest.fixture
def empty_model(tmp_path: Path) -> ModelFiles:
    return ModelFiles("some/model", ModelFormat.SAFETENSORS, tmp_path)


async def test_front_death_ends_host(tmp_path: Path) -> None:
    """A front that is killed takes the whole group of its engine with it, and its files."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    front = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        FRONT,
        str(tmp_path),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    assert front.stdout is not None
    async with asyncio.timeout(HANG_S):
        assert await front.stdout.readline()
        hosts = child_groups(front.pid)
        assert hosts
        members = [pid for host in hosts for pid in group_members(host)]
        front.send_signal(signal.SIGKILL)
        await front.wait()
        await wait_ended(members)
    assert os.listdir(temporary) == []  # noqa: PTH208 - an asynchronous test


async def test_launch_cancelled(empty_model: ModelFiles) -> None:
    """A cancelled launch leaves no process."""
    seen = asyncio.Event()
    launcher = launcher_for(empty_model, SglangSettings(Device.CPU, 1))
    before = child_groups(os.getpid())
    launching = asyncio.create_task(launcher.launch(lambda _: seen.set()), name="launch")
    async with asyncio.timeout(HANG_S):
        await seen.wait()
        hosts = child_groups(os.getpid()) - before
        assert hosts
        launching.cancel()
        await asyncio.wait({launching})
    assert launching.cancelled()
    assert not any(group_members(host) for host in hosts)


async def test_launch_deadline(empty_model: ModelFiles) -> None:
    """A host that does not get ready in time is ended, and the limit is told."""
    settings = SglangSettings(Device.CPU, 1, load_timeout_s=0.2)
    with pytest.raises(ModelLoadFailed, match=r"0\.2 s"):
        await launcher_for(empty_model, settings).launch(lambda _: None)


async def test_unreadable_model(empty_model: ModelFiles) -> None:
    """A model that SGLang cannot read fails; SGLang's own reason is for the log, as is its path."""
    steps = list[LoadProgress]()
    launcher = launcher_for(empty_model, SglangSettings(Device.CPU, 1))
    async with asyncio.timeout(HANG_S):
        with pytest.raises(ModelLoadFailed, match="SGLang cannot load the model") as caught:
            await launcher.launch(steps.append)
    assert "Error: " in caught.value.detail
    assert str(empty_model.path) not in caught.value.message
    assert steps


async def test_other_gguf_refused_on_cpu(sglang_model_files: ModelFiles) -> None:
    """A GGUF file, except the built-in one, is refused on a CPU, naming the alternatives."""
    files = replace(sglang_model_files, model_id="some/other:model.gguf")
    launcher = launcher_for(files, SglangSettings(Device.CPU, 1))
    with pytest.raises(ModelLoadFailed, match=r"llama\.cpp"):
        await launcher.launch(lambda _: None)
