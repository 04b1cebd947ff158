"""The built-in model's weights, unpacked once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy
import pytest
from structlog.testing import capture_logs
from tokenwire.server.contract.engine_settings import (
    Device,
    EngineSettings,
    ModelFiles,
    ModelFormat,
)
from tokenwire.server.engines.llama_cpp.child.unpacking import unpack, unpacked_path
from tokenwire.server.engines.llama_cpp.launcher import LlamaCppLauncher

from .....conftest import MODEL_ID
from ...generation import PARIS, answer

SETTINGS = EngineSettings(Device.CPU, 1, max_model_len=256, num_threads=1)


def test_unpacked_file_keeps_everything_but_the_packing(tmp_path: Path) -> None:
    """Keys, exact tensors and the values of packed ones stay; nothing is left beside the file."""
    source, target = tmp_path / "packed.gguf", tmp_path / "cache" / "unpacked.gguf"
    exact = numpy.arange(32, dtype=numpy.float32)
    kind = gguf.GGMLQuantizationType.Q4_1
    packed = gguf.quantize(numpy.sin(numpy.arange(256, dtype=numpy.float32)).reshape(4, 64), kind)
    writer: Any = gguf.GGUFWriter(source, "llama")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_1)
    writer.add_chat_template("{{ messages }}")
    writer.add_array("tokenizer.ggml.tokens", ["a", "\u2581b", ""])
    writer.add_array("tokenizer.ggml.token_type", [1, 3, 1])
    writer.add_tensor("norm.weight", exact)
    writer.add_tensor("blk.0.weight", packed, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    unpack(source, target)

    before, after = keys_of(source), keys_of(target)
    assert after.pop("general.file_type") == gguf.LlamaFileType.MOSTLY_F16
    assert before.pop("general.file_type") == gguf.LlamaFileType.MOSTLY_Q4_1
    assert after == before
    reader: Any = gguf.GGUFReader(target)
    norm, block = reader.tensors
    assert (norm.name, norm.tensor_type) == ("norm.weight", gguf.GGMLQuantizationType.F32)
    assert (block.name, block.tensor_type) == ("blk.0.weight", gguf.GGMLQuantizationType.F16)
    assert numpy.array_equal(norm.data, exact)
    assert numpy.array_equal(block.data, gguf.dequantize(packed, kind).astype(numpy.float16))
    assert list(target.parent.iterdir()) == [target]


def keys_of(path: Path) -> dict[str, object]:
    reader: Any = gguf.GGUFReader(path)
    return {
        name: field.contents()
        for name, field in reader.fields.items()
        if not name.startswith("GGUF.")
    }


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
