"""Into how many equal parts SGLang can cut the layers of a model."""

from __future__ import annotations

from dataclasses import dataclass

from ....contract.engine_settings import ModelFiles, ModelFormat
from ....files.formats.gguf_file import MalformedGguf, read_gguf_file
from .checkpoint import find_positive, read_config


@dataclass(frozen=True, slots=True)
class LayerShape:
    """The numbers of a layer that tensor parallelism divides; 0 where one is not told."""

    num_heads: int = 0
    num_kv_heads: int = 0
    intermediate_size: int = 0

    def tensor_parallel_sizes(self, num_gpus: int) -> tuple[int, ...]:
        """Returns the numbers of GPUs up to `num_gpus` that the layers can be spread over.

        Heads and the inner width of the MLP must come out even. Fewer KV heads than GPUs are
        copied, where that comes out even (the checks of `LlamaAttention` in SGLang's
        `models/llama.py`, which its other models share).
        """
        return tuple(size for size in range(1, num_gpus + 1) if self._divides(size))

    def _divides(self, size: int) -> bool:
        if self.num_heads % size or self.intermediate_size % size:
            return False
        kv_heads = self.num_kv_heads
        return kv_heads % size == 0 or size % kv_heads == 0


def read_layer_shape(files: ModelFiles) -> LayerShape:
    """Reads the shape from `config.json`, or from the header of a GGUF file."""
    if files.format is ModelFormat.GGUF:
        return _read_gguf(files)
    config = read_config(files.path)
    num_heads = find_positive(config, "num_attention_heads") or 0
    return LayerShape(
        num_heads,
        find_positive(config, "num_key_value_heads") or num_heads,
        find_positive(config, "intermediate_size") or 0,
    )


def _read_gguf(files: ModelFiles) -> LayerShape:
    try:
        keys = read_gguf_file(files.path).keys
    except MalformedGguf:
        return LayerShape()  # told where the file is loaded
    prefix = keys.get("general.architecture")
    num_heads = _number(keys.get(f"{prefix}.attention.head_count"))
    return LayerShape(
        num_heads,
        _number(keys.get(f"{prefix}.attention.head_count_kv")) or num_heads,
        _number(keys.get(f"{prefix}.feed_forward_length")),
    )


def _number(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
