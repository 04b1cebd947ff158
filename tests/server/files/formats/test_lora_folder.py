"""What the folder of a LoRA adapter says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenwire.server.files.formats.lora_folder import (
    LoraAdapter,
    find_adapter_defect,
    read_adapter,
)

from ..test_lora_finder import write_adapter


@pytest.mark.parametrize(("written", "read"), [("a/first", "a/first"), (None, "")])
def test_whole_folder(tmp_path: Path, written: str | None, read: str) -> None:
    """An adapter names the model that it was trained for, or none."""
    folder = write_adapter(tmp_path / "one", written)
    assert find_adapter_defect(folder) is None
    assert read_adapter("mine", folder) == LoraAdapter("mine", folder, read)


def test_broken_configuration(tmp_path: Path) -> None:
    """A configuration that is not JSON is told by its name."""
    folder = write_adapter(tmp_path / "one", "a/first")
    (folder / "adapter_config.json").write_text("[]")
    assert find_adapter_defect(folder) == "adapter_config.json is not JSON"


def test_pickles_are_no_adapter(tmp_path: Path) -> None:
    """The older form of an adapter, a pickle, is not loaded."""
    folder = write_adapter(tmp_path / "old", "a/first")
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    assert find_adapter_defect(folder) == "adapter_model.safetensors is missing"
