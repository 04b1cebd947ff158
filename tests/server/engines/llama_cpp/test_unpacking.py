"""The built-in model's weights, unpacked once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tokenwire.server.contract.engine_settings import (
    Device,
    EngineSettings,
    ModelFiles,
    ModelFormat,
)
from tokenwire.server.engines.llama_cpp.launcher import LlamaCppLauncher
from tokenwire.server.engines.llama_cpp.unpacking import unpack, unpacked_path
from tokenwire.server.files.formats.gguf_header import read_gguf_header

from ....conftest import MODEL_ID
from ..generation import PARIS, answer

SETTINGS = EngineSettings(Device.CPU, 1, max_model_len=256, num_threads=1)


def test_unpacked_file_keeps_everything_but_the_packing(gguf_file: Path, tmp_path: Path) -> None:
    """The unpacked file has the same shape and template, 16 bits a weight, and no leftovers."""
    target = tmp_path / "cache" / "model.gguf"
    unpack(gguf_file, target)
    packed, unpacked = read_gguf_header(gguf_file), read_gguf_header(target)
    assert replace(unpacked, quantization=packed.quantization) == packed
    assert target.stat().st_size > 2 * gguf_file.stat().st_size
    assert list(target.parent.iterdir()) == [target]


def test_name_follows_the_file(tmp_path: Path) -> None:
    """A file that changes is unpacked anew, under another name."""
    source = tmp_path / "a.gguf"
    source.write_bytes(b"one")
    first = unpacked_path(source, {"XDG_CACHE_HOME": "/cache"})
    source.write_bytes(b"other")
    second = unpacked_path(source, {"XDG_CACHE_HOME": "/cache"})
    assert first != second
    assert first.is_relative_to("/cache/tokenwire")


async def test_serves_packed_where_nothing_can_be_kept(
    gguf_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a place to keep it, the file is loaded as it is, and the log says why."""
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    files = ModelFiles(MODEL_ID, ModelFormat.GGUF, gguf_file)
    with capture_logs() as logs:
        engine = await LlamaCppLauncher(files, SETTINGS).launch(lambda _: None)
    try:
        assert (await answer(engine, PARIS)).text
    finally:
        await engine.close()
    (line,) = [log for log in logs if log["event"] == "weights_stay_packed"]
    assert "Not a directory" in line["detail"]


async def test_other_files_are_loaded_as_they_are(gguf_file: Path) -> None:
    """Only the built-in model is unpacked."""
    steps: list[str] = []
    files = ModelFiles("some/other:file.gguf", ModelFormat.GGUF, gguf_file)
    engine = await LlamaCppLauncher(files, SETTINGS).launch(lambda step: steps.append(step.step))
    await engine.close()
    assert "loading the weights" in steps
