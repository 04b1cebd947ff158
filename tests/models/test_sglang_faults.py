"""Faults of a checkpoint that SGLang alone can tell, each after a start of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenwire.server.contract.engine_settings import (
    Device,
    ModelFiles,
    ModelFormat,
)
from tokenwire.server.contract.errors import ModelLoadFailed
from tokenwire.server.engines.sglang.settings import SglangSettings
from tokenwire.server.files.formats.safetensors_defects import find_safetensors_defect

from ..server.engines.sglang.fixtures import launcher_for


def changed(small_model: Path, folder: Path, **values: object) -> ModelFiles:
    """The small model with other values in its configuration."""
    for file in small_model.iterdir():
        (folder / file.name).symlink_to(file)
    config = json.loads((small_model / "config.json").read_text()) | values
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps(config))
    # A look at the files finds nothing.
    assert find_safetensors_defect(folder) is None
    return ModelFiles("some/model", ModelFormat.SAFETENSORS, folder)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"architectures": ["NonesuchForCausalLM"], "model_type": "nonesuch"}, "`nonesuch`"),
        ({"architectures": ["NonesuchForCausalLM"]}, "'NonesuchForCausalLM'"),
    ],
    ids=["model type", "architecture"],
)
async def test_unknown_model(
    small_model: Path, tmp_path: Path, values: dict[str, object], reason: str
) -> None:
    """A model that SGLang does not know is named; SGLang's reason is one line, for the log."""
    files = changed(small_model, tmp_path, **values)
    with pytest.raises(ModelLoadFailed, match="architecture is 'NonesuchForCausalLM'") as caught:
        await launcher_for(files, SglangSettings(Device.CPU, 1)).launch(lambda _: None)
    assert reason in caught.value.detail
    assert "\n" not in caught.value.detail
