"""LoRA adapters: what their folders hold, and which model each one belongs to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_CONFIG: Final = "adapter_config.json"
_WEIGHTS: Final = "adapter_model.safetensors"
ADAPTER_FILES: Final = (_CONFIG, _WEIGHTS)
"""The files of an adapter as PEFT writes it. Its older `.bin` form is a pickle, never loaded."""


@dataclass(frozen=True, slots=True)
class LoraAdapter:
    """An adapter on this machine. `base_model` is the id it was trained for, empty: not told."""

    name: str
    folder: Path
    base_model: str


def find_adapter_defect(folder: Path) -> str | None:
    """Returns what is wrong with the folder of an adapter, None where nothing is."""
    for name in ADAPTER_FILES:
        if not (folder / name).is_file():
            return f"{name} is missing"
    if _read_config(folder) is None:
        return f"{_CONFIG} is not JSON"
    return None


def read_adapter(name: str, folder: Path) -> LoraAdapter:
    """Reads what an adapter says of itself; its folder is whole."""
    config = _read_config(folder) or {}
    return LoraAdapter(name, folder, str(config.get("base_model_name_or_path") or ""))


def _read_config(folder: Path) -> dict[str, Any] | None:
    try:
        config: Any = json.loads((folder / _CONFIG).read_bytes())  # any JSON
    except (OSError, ValueError):
        return None
    return config if isinstance(config, dict) else None  # pyright: ignore[reportUnknownVariableType] - JSON
