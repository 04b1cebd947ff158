"""Into how many equal parts SGLang can cut the layers of a model."""

from __future__ import annotations

from dataclasses import dataclass


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
