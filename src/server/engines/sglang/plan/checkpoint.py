"""What the files of a checkpoint tell before anything is loaded: read once, and handed on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ....contract.engine_settings import ModelFiles, ModelFormat
from ....files.formats.gguf_defects import count_gguf_bytes
from ....files.formats.gguf_file import MalformedGguf, read_gguf_file
from ....files.formats.gguf_header import describe_file
from .tensor_parallel import LayerShape

GGUF_QUANTIZATION: Final = "gguf"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The facts that decide how SGLang is to load a model.

    `architecture` is the first of `architectures` in `config.json`, or `general.architecture` of a
    GGUF file. `quantization` is the method that the weights are already quantised with, empty for
    none. `max_position` is the longest context that the model itself knows, None where not told.
    `weight_bytes` is the size of the weight files. `kv_values_per_token` counts the numbers that
    one token has in the KV cache, over all layers; None where it cannot be told. `num_experts` is 0
    for a model that is no mixture, and told for GGUF files only.
    """

    architecture: str
    quantization: str = ""
    max_position: int | None = None
    weight_bytes: int = 0
    num_layers: int | None = None
    kv_values_per_token: int | None = None
    num_experts: int = 0
    layer: LayerShape = field(default_factory=LayerShape)


def read_checkpoint(files: ModelFiles) -> Checkpoint:
    """Reads the facts; what is missing or broken there is left empty, for SGLang to complain."""
    if files.format is ModelFormat.GGUF:
        return _read_gguf(files.path)
    config = _read_config(files.path)
    architectures = config.get("architectures")
    num_heads = _find_positive(config, "num_attention_heads") or 0
    return Checkpoint(
        architecture=str(architectures[0]) if architectures else "",
        quantization=_quantization(files.path, config),
        max_position=_find_positive(config, "max_position_embeddings"),
        weight_bytes=count_weight_bytes(files.path),
        num_layers=_find_positive(config, "num_hidden_layers"),
        kv_values_per_token=_kv_values_per_token(config),
        layer=LayerShape(
            num_heads,
            _find_positive(config, "num_key_value_heads") or num_heads,
            _find_positive(config, "intermediate_size") or 0,
        ),
    )


def count_weight_bytes(path: Path) -> int:
    """Adds up the sizes of a model's weight files: a GGUF file's parts, a folder's safetensors."""
    if not path.is_dir():
        return count_gguf_bytes(path)
    return sum(file.stat().st_size for file in path.glob("*.safetensors"))


def _read_gguf(file: Path) -> Checkpoint:
    weight_bytes = count_weight_bytes(file)
    try:
        read = read_gguf_file(file)
        keys = read.keys
        header = describe_file(read, file.name)
    except MalformedGguf:
        return Checkpoint("", GGUF_QUANTIZATION, weight_bytes=weight_bytes)

    def number(name: str) -> int:
        value = keys.get(f"{header.architecture}.{name}")
        return value if isinstance(value, int) and value > 0 else 0

    num_heads = number("attention.head_count")
    return Checkpoint(
        architecture=header.architecture,
        quantization=GGUF_QUANTIZATION,
        max_position=header.trained_context_length or None,
        weight_bytes=weight_bytes,
        kv_values_per_token=header.kv_bytes_per_token // 2 or None,  # it counts them in float16
        num_experts=number("expert_count"),
        layer=LayerShape(
            num_heads,
            number("attention.head_count_kv") or num_heads,
            number("feed_forward_length"),
        ),
    )


def _read_config(folder: Path) -> dict[str, Any]:
    """Reads `config.json`; empty where it is missing or no object."""
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


def _find_positive(config: dict[str, Any], name: str) -> int | None:
    """Returns a number above 0 of a configuration or of its text part; None where not told."""
    for part in _parts(config):
        value = part.get(name)
        if isinstance(value, int) and value > 0:
            return value
    return None


def _kv_values_per_token(config: dict[str, Any]) -> int | None:
    num_layers = _find_positive(config, "num_hidden_layers")
    num_heads = _find_positive(config, "num_attention_heads")
    hidden_size = _find_positive(config, "hidden_size")
    if num_layers is None or num_heads is None or hidden_size is None:
        return None
    latent = _find_positive(config, "kv_lora_rank")
    if latent is not None:  # multi-head latent attention keeps one vector for keys and values
        return num_layers * (latent + (_find_positive(config, "qk_rope_head_dim") or 0))
    head_size = _find_positive(config, "head_dim") or hidden_size // num_heads
    return 2 * num_layers * (_find_positive(config, "num_key_value_heads") or num_heads) * head_size
