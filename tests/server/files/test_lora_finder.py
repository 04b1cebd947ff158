from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tokenwire.server.contract.model_id import ModelId
from tokenwire.server.files.lora_finder import LoraFinder
from tokenwire.server.files.model_finder import ModelFinder

from ..fronts import make_config

FIRST, SECOND = ModelId.parse("a/first"), ModelId.parse("a/second")


def write_adapter(folder: Path, base_model: str | None) -> Path:
    folder.mkdir(parents=True)
    config: dict[str, Any] = {"peft_type": "LORA", "r": 16, "base_model_name_or_path": base_model}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").write_bytes(b"")
    return folder


def finder_for(models: str, adapters: dict[str, object], folder: Path) -> LoraFinder:
    config = make_config(
        LLM_ALLOWED_MODELS=models,
        LLM_LORA_ADAPTERS=",".join(f"{name}={place}" for name, place in adapters.items()),
        LLM_MODEL_PATH=str(folder),
        HF_HOME=str(folder),
        HF_HUB_OFFLINE="true",
    )
    return LoraFinder(config, ModelFinder(config))


async def test_adapters_belong_to_the_model_they_were_trained_for(tmp_path: Path) -> None:
    """Of two models, each has those that name it in `base_model_name_or_path`."""
    one = write_adapter(tmp_path / "one", "a/first")
    two = write_adapter(tmp_path / "owner" / "two", "a/second")
    other = write_adapter(tmp_path / "other", None)
    adapters = {"one": one, "two": "owner/two", "other": other}
    finder = finder_for("a/first,a/second", adapters, tmp_path)
    assert await finder.find(FIRST, lambda _: None) == {"one": one}
    assert await finder.find(SECOND, lambda _: None) == {"two": two}


async def test_the_only_model_has_all_adapters(tmp_path: Path) -> None:
    """Whatever they say of themselves: people rename models."""
    adapters = {
        "one": write_adapter(tmp_path / "one", "somebody/first"),
        "two": write_adapter(tmp_path / "two", None),
    }
    finder = finder_for("a/first", adapters, tmp_path)
    assert await finder.find(FIRST, lambda _: None) == adapters


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (
            "broken",
            "its folder in LLM_LORA_ADAPTERS is not whole: adapter_model.safetensors is",
        ),
        ("nowhere/at/all", "is neither a folder nor a repository owner/repo"),
    ],
)
async def test_an_adapter_that_is_not_to_be_had_is_left_out(
    tmp_path: Path, place: str, reason: str
) -> None:
    """The others are there, and the log says why it is not."""
    (write_adapter(tmp_path / "broken", "a/first") / "adapter_model.safetensors").unlink()
    good = write_adapter(tmp_path / "good", "a/first")
    adapters = {"bad": tmp_path / place if place == "broken" else place, "good": good}
    finder = finder_for("a/first", adapters, tmp_path)
    with capture_logs() as logs:
        assert await finder.find(FIRST, lambda _: None) == {"good": good}
    (line,) = [log for log in logs if log["event"] == "adapter_failed"]
    assert line["adapter"] == "bad"
    assert reason in line["reason"]
    assert line["detail"] == str(adapters["bad"])
    assert line["detail"] not in line["reason"]
