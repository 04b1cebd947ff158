"""What the configuration of a checkpoint tells before anything is loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ...engine_settings import ModelFiles, ModelFormat
from ...gguf_file import MalformedGguf
from ...gguf_header import read_gguf_header
from ...weights import split_names

GGUF_QUANTIZATION: Final = "gguf"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The facts that decide how SGLang is to load a model.

    `architecture` is the first of `architectures` in `config.json`, or `general.architecture` of a
    GGUF file. `quantization` is the method that the weights are already quantised with, empty for
    none. `max_position` is the longest context that the model itself knows, None where not told.
    `weight_bytes` is the size of the weight files.
    """

    architecture: str
    quantization: str
    max_position: int | None
    weight_bytes: int


def read_checkpoint(files: ModelFiles) -> Checkpoint:
    """Reads the facts; what is missing or broken there is left empty, for SGLang to complain."""
    if files.format is ModelFormat.GGUF:
        return _read_gguf(files.path)
    config = _read_config(files.path)
    architectures = config.get("architectures")
    return Checkpoint(
        architecture=str(architectures[0]) if architectures else "",
        quantization=_quantization(files.path, config),
        max_position=_max_position(config),
        weight_bytes=count_weight_bytes(files.path),
    )


def count_weight_bytes(path: Path) -> int:
    """Adds up the sizes of a model's weight files: a GGUF file's parts, a folder's safetensors."""
    if path.is_dir():
        files = list(path.glob("*.safetensors"))
    else:
        files = [path.with_name(name) for name in split_names(path.name)]
    return sum(file.stat().st_size for file in files)


def read_max_position(folder: Path) -> int | None:
    """Reads the longest context from `config.json`; None where it is not told."""
    return _max_position(_read_config(folder))


def _read_gguf(file: Path) -> Checkpoint:
    try:
        header = read_gguf_header(file)
    except MalformedGguf:
        return Checkpoint("", GGUF_QUANTIZATION, None, count_weight_bytes(file))
    return Checkpoint(
        architecture=header.architecture,
        quantization=GGUF_QUANTIZATION,
        max_position=header.trained_context_length or None,
        weight_bytes=count_weight_bytes(file),
    )


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config: Any = json.loads((folder / "config.json").read_bytes())  # any JSON
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}  # pyright: ignore[reportUnknownVariableType] - JSON


def _parts(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The configuration and that of its text part, which a vision model has."""
    text: Any = config.get("text_config")
    return [config, text] if isinstance(text, dict) else [config]


def _quantization(folder: Path, config: dict[str, Any]) -> str:
    # As SGLang looks (`ModelConfig._parse_quant_hf_config`): config.json, its older name for
    # compressed-tensors, and ModelOpt's own file.
    for part in _parts(config):
        for key in ("quantization_config", "compression_config"):
            found: Any = part.get(key)
            if isinstance(found, dict):
                return str(found.get("quant_method") or "unknown")  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType] - JSON
    return "modelopt" if (folder / "hf_quant_config.json").is_file() else ""


def _max_position(config: dict[str, Any]) -> int | None:
    for part in _parts(config):
        value = part.get("max_position_embeddings")
        if isinstance(value, int) and value > 0:
            return value
    return None
