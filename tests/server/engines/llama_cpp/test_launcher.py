"""What a launch gives: an engine, or why there is none."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenwire.server.contract.engine_settings import ModelFiles, ModelFormat
from tokenwire.server.contract.errors import LoadKilled, ModelLoadFailed
from tokenwire.server.contract.prompts import TextPrompt
from tokenwire.server.contract.token_ids import TokenIds
from tokenwire.server.engines.llama_cpp.child.process import LlamaCppProcess
from tokenwire.server.engines.llama_cpp.child.unpacking import unpacked_path
from tokenwire.server.engines.llama_cpp.engine import LlamaCppEngine
from tokenwire.server.engines.llama_cpp.launcher import LlamaCppLauncher

from ....conftest import MODEL_ID
from ....system.services import start_service
from ...files.weight_files import LLAMA, gguf
from ...fronts import collect, start_front
from ...lent_engine import LentEngine
from ..generation import HANG_S, PARIS, answer
from ..gguf_copies import write_copy
from .launching import SMALL, launch, modes

PARTS = [f"m-0000{part}-of-00003.gguf" for part in (1, 2, 3)]
CODER_ID = "some/coder:file.gguf"
# Tokens of the small model that it was trained on, and that stand for nothing in a chat.
MARKERS = ("<issue_closed>", "<jupyter_text>", "<jupyter_code>")
KEYS = ("fim_pre", "fim_suf", "fim_mid")
BEFORE, AFTER = "def add(a, b):\n    return ", "\n\nprint(add(1, 2))\n"


def truncated(path: Path, folder: Path, num_bytes: int) -> Path:
    """Writes the beginning of a file into another folder."""
    copy = folder / "model.gguf"
    copy.write_bytes(path.read_bytes()[:num_bytes])
    return copy


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
async def test_told_by_engine(
    tmp_path: Path, keys: dict[str, str], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A refusal names the file; the words of llama.cpp are for the log."""
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf({**LLAMA, **keys}))
    with pytest.raises(ModelLoadFailed) as caught:
        await launch(path)
    assert caught.value.message.startswith("llama.cpp cannot load 'm.gguf': it refuses the file")
    assert reason not in caught.value.message
    assert caught.value.detail.endswith(reason)
    (told, *_) = [record for record in caplog.records if record.message == "engine_output"]
    assert vars(told)["line"].endswith(reason)
    assert (vars(told)["model"], told.levelname) == ("some/model:file.gguf", "ERROR")


@pytest.mark.parametrize("content", [b"", b"GGUF", gguf()[:-8]])
async def test_broken_projector(gguf_file: Path, tmp_path: Path, content: bytes) -> None:
    """A model whose projector is not whole is not served blind."""
    projector = tmp_path / "mmproj.gguf"
    projector.write_bytes(content)
    files = ModelFiles("o/r:f.gguf", ModelFormat.GGUF, gguf_file, projector=projector)
    with pytest.raises(ModelLoadFailed, match="mmproj"):
        await LlamaCppLauncher(files, SMALL).launch(lambda _: None)


@pytest.mark.parametrize(("number", "is_killed"), [(signal.SIGKILL, True), (signal.SIGSEGV, False)])
async def test_load_that_is_killed(
    gguf_file: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, *, is_killed: bool
) -> None:
    """A load that is ended from outside is told from one that fails by itself."""
    start = LlamaCppProcess.start

    async def start_and_kill(*arguments: Any) -> LlamaCppProcess:
        process = await start(*arguments)
        os.kill(process.pid, number)
        return process

    monkeypatch.setattr(LlamaCppProcess, "start", start_and_kill)
    with pytest.raises(ModelLoadFailed, match=number.name) as caught:
        await launch(gguf_file)
    assert isinstance(caught.value, LoadKilled) is is_killed


async def test_load_timeout(gguf_file: Path) -> None:
    """A load that takes too long is given up, with the limit in the message."""
    with pytest.raises(ModelLoadFailed, match=r"not loaded within 0.001 s"):
        await launch(gguf_file, replace(SMALL, load_timeout_s=0.001))


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


async def test_split_file(gguf_file: Path, tmp_path: Path) -> None:
    """A model in three parts, named by the first, answers as the whole one does."""
    # The built-in model unpacked, which a first start leaves: packed, it does not know the answer.
    files = ModelFiles(MODEL_ID, ModelFormat.GGUF, gguf_file)
    engine = await LlamaCppLauncher(files, SMALL).launch(lambda _: None)
    num_parameters = engine.info.num_parameters
    await engine.close()
    home = tmp_path / "owner" / "m"
    home.mkdir(parents=True)
    await asyncio.to_thread(write_copy, unpacked_path(gguf_file), home / "m.gguf", num_parts=3)
    assert sorted(path.name for path in home.iterdir()) == PARTS
    async with start_front(
        LLM_ALLOWED_MODELS=f"owner/m:{PARTS[0]}",
        LLM_MODEL_PATH=str(tmp_path),
        LLM_MAX_MODEL_LEN="256",
    ) as client:
        (model,) = (await client.list_models()).values()
        request = client.chat("What is the capital of France?")
        answer = await collect(client.inference.Chat(request))
    assert "Paris" in answer.text
    assert model.num_parameters == num_parameters


async def ids_of(engine: LlamaCppEngine, text: str) -> TokenIds:
    return (await engine.render(TextPrompt(text))).token_ids


async def test_completion_with_suffix(gguf_file: Path, tmp_path: Path) -> None:
    """A suffix makes a prompt of the file's own markers: prefix, suffix, middle, in this order."""
    plain = await launch(gguf_file)
    markers = [(await ids_of(plain, marker))[0] for marker in MARKERS]
    before, after = await ids_of(plain, BEFORE), await ids_of(plain, AFTER)
    assert not plain.info.capabilities.fill_in_the_middle
    await plain.close()

    keys = {
        f"tokenizer.ggml.{name}_token_id": marker
        for name, marker in zip(KEYS, markers, strict=True)
    }
    engine = await launch(write_copy(gguf_file, tmp_path / "file.gguf", keys=keys))
    assert engine.info.capabilities.fill_in_the_middle
    lent = LentEngine(engine)
    body = {"model": CODER_ID, "prompt": BEFORE, "suffix": AFTER, "max_tokens": 4}
    async with (
        start_service(lent.prepare, LLM_ALLOWED_MODELS=CODER_ID) as service,
        service.http.post("/api/completions", json=body) as response,
    ):
        answer = await response.json()
    await engine.close()

    assert response.status == 200, answer
    (reached,) = lent.requests
    first, second, third = markers
    assert tuple(reached.prompt.token_ids) == (first, *before, second, *after, third)
