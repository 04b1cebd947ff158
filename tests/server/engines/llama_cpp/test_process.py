"""What becomes of a llama.cpp child when files are broken or processes die."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
from tokenwire.server.contract.engine import Delta, TextPrompt
from tokenwire.server.contract.engine_settings import EngineSettings, ModelFiles, ModelFormat
from tokenwire.server.contract.errors import EngineLost, ModelLoadFailed
from tokenwire.server.engines.llama_cpp.arguments import ChildArguments, ChildReport
from tokenwire.server.engines.llama_cpp.engine import LlamaCppEngine
from tokenwire.server.engines.llama_cpp.launcher import LlamaCppLauncher
from tokenwire.server.engines.llama_cpp.process import make_socket_path

from ....conftest import MODEL_ID
from ...files.weight_files import LLAMA, gguf
from ..generation import GREEDY, HANG_S, PARIS, STORY, answer, drain, request_for
from .test_llama_cpp import SETTINGS

SMALL = replace(SETTINGS, max_running=2, max_model_len=256)


async def launch(path: Path, settings: EngineSettings = SMALL) -> LlamaCppEngine:
    # Not by the built-in id: what that names is unpacked into the user's cache.
    files = ModelFiles("some/model:file.gguf", ModelFormat.GGUF, path)
    return await LlamaCppLauncher(files, settings).launch(lambda _: None)


async def wait_gone(pid: int) -> None:
    """Waits for the end of a process that is nobody's child here."""
    async with asyncio.timeout(HANG_S):
        while is_running(pid):  # noqa: ASYNC110 - only a parent is told of an end
            await asyncio.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def truncated(path: Path, folder: Path, num_bytes: int) -> Path:
    """Writes the beginning of a file into another folder."""
    copy = folder / "model.gguf"
    copy.write_bytes(path.read_bytes()[:num_bytes])
    return copy


def modes(folder: Path) -> list[int]:
    """The permissions of what lies in a folder."""
    return [entry.stat().st_mode & 0o777 for entry in folder.iterdir()]


# --- Files


async def test_missing_file(tmp_path: Path) -> None:
    """A file that is not there is named; where it was looked for is for the log."""
    path = tmp_path / "none.gguf"
    with pytest.raises(ModelLoadFailed) as caught:
        await launch(path)
    assert caught.value.message == "there is no file 'none.gguf'"
    assert caught.value.detail == str(path)


async def test_missing_package(
    gguf_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without llama.cpp the message says what to install, and the log what Python says."""
    (tmp_path / "xllamacpp.py").write_text("raise ImportError('no such thing')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ModelLoadFailed, match="install the extra 'llamacpp'") as caught:
        await launch(gguf_file)
    assert caught.value.detail == "no such thing"


async def test_truncated_weights(gguf_file: Path, tmp_path: Path) -> None:
    """A file that ends inside its weights is refused before a child is started."""
    with pytest.raises(ModelLoadFailed, match=r"'model.gguf' is truncated: its tensors end"):
        await launch(truncated(gguf_file, tmp_path, 50_000_000))


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"general.architecture": "nonesuch"}, "unknown model architecture: 'nonesuch'"),
        ({}, "error loading model hyperparameters: key not found in model: llama.context_length"),
    ],
)
async def test_told_by_engine(tmp_path: Path, keys: dict[str, str], reason: str) -> None:
    """A refusal names the file; the words of llama.cpp are for the log."""
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf({**LLAMA, **keys}))
    with pytest.raises(ModelLoadFailed) as caught:
        await launch(path)
    assert caught.value.message.startswith("llama.cpp cannot load 'm.gguf': it refuses the file")
    assert reason not in caught.value.message
    assert caught.value.detail.endswith(reason)


async def test_load_timeout(gguf_file: Path) -> None:
    """A load that takes too long is given up, with the limit in the message."""
    with pytest.raises(ModelLoadFailed, match=r"not loaded within 0.001 s"):
        await launch(gguf_file, replace(SMALL, load_timeout_s=0.001))


# --- Deaths


async def test_kill_ends_running_stream(gguf_file: Path) -> None:
    """A killed child ends its streams as lost, tells why, and refuses everything after."""
    engine = await launch(gguf_file)
    rendered = await engine.render(STORY)
    params = replace(GREEDY, max_tokens=200, ignore_eos=True)
    async with asyncio.timeout(HANG_S):
        async with aclosing(engine.generate(request_for(rendered, params))) as events:
            async for event in events:
                if isinstance(event, Delta):
                    os.kill(engine.pid, signal.SIGKILL)
                    break
            with pytest.raises(EngineLost):
                await drain(events)
        assert "SIGKILL" in await engine.wait_lost()
        with pytest.raises(EngineLost):
            await answer(engine, STORY)
        with pytest.raises(EngineLost):
            await engine.status()
        await engine.close()


async def test_kill_ends_waiting_requests(gguf_file: Path) -> None:
    """Requests that wait for a slot when the child dies are lost too."""
    engine = await launch(gguf_file)
    params = replace(GREEDY, max_tokens=200, ignore_eos=True)
    async with asyncio.timeout(HANG_S):
        rendered = await engine.render(STORY)
        async with aclosing(engine.generate(request_for(rendered, params))) as events:
            await anext(events)
            waiting = [
                asyncio.create_task(answer(engine, TextPrompt(f"{number}"), params))
                for number in range(4)
            ]
            async for event in events:
                if isinstance(event, Delta):
                    os.kill(engine.pid, signal.SIGKILL)
                    break
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(result, EngineLost) for result in results)
        await engine.close()


async def test_stopped_child_is_closed(gguf_file: Path) -> None:
    """A child that reacts to nothing is ended all the same."""
    engine = await launch(gguf_file)
    os.kill(engine.pid, signal.SIGSTOP)
    async with asyncio.timeout(HANG_S):
        await engine.close()
    with pytest.raises(ProcessLookupError):
        os.kill(engine.pid, 0)


async def test_cancelled_launch_leaves_nothing(
    gguf_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A launch that is cancelled while it loads ends its child and removes its socket."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    is_loading = asyncio.Event()
    files = ModelFiles(MODEL_ID, ModelFormat.GGUF, gguf_file)
    launcher = LlamaCppLauncher(files, SMALL)
    launching = asyncio.create_task(
        launcher.launch(lambda progress: is_loading.set() if "weights" in progress.step else None)
    )
    async with asyncio.timeout(HANG_S):
        await is_loading.wait()
        while not modes(tmp_path):  # noqa: ASYNC110 - the folder is made between two steps
            await asyncio.sleep(0)
        launching.cancel()
        await asyncio.wait({launching})
    assert launching.cancelled()
    assert modes(tmp_path) == []


async def test_close_removes_socket(
    gguf_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket's private folder lives as long as the engine."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    engine = await launch(gguf_file)
    assert modes(tmp_path) == [0o700]
    await engine.close()
    assert modes(tmp_path) == []


PARENT = """
import subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-m", "tokenwire.server.engines.llama_cpp.child", sys.argv[1]],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
)
print(child.pid, flush=True)
if sys.argv[2] == "loaded":
    print(child.stdout.readline().decode(), end="", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("moment", ["loading", "loaded"])
async def test_child_dies_with_parent(gguf_file: Path, moment: str) -> None:
    """A parent that is killed takes the child with it, also while the child loads."""
    socket_path = make_socket_path()
    arguments = ChildArguments(
        model_path=str(gguf_file),
        socket_path=str(socket_path),
        num_slots=1,
        pool_tokens=256,
        num_threads=1,
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, arguments.to_json(), moment,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(HANG_S):
        assert parent.stdout is not None
        pid = int(await parent.stdout.readline())
        if moment == "loaded":
            assert ChildReport.from_json(await parent.stdout.readline()).version
        parent.kill()
        await parent.wait()
        await wait_gone(pid)
    if moment == "loaded":
        assert not socket_path.parent.exists()
    elif socket_path.parent.exists():
        socket_path.unlink(missing_ok=True)
        socket_path.parent.rmdir()


async def test_paris_after_restart(gguf_file: Path) -> None:
    """A launcher starts a new engine after the death of the first."""
    launcher = LlamaCppLauncher(ModelFiles(MODEL_ID, ModelFormat.GGUF, gguf_file), SMALL)
    first = await launcher.launch(lambda _: None)
    os.kill(first.pid, signal.SIGKILL)
    await first.wait_lost()
    await first.close()
    second = await launcher.launch(lambda _: None)
    assert "Paris" in (await answer(second, PARIS)).text
    await second.close()
