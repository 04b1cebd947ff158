"""The memory that SGLang reserved for its KV cache."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

_GIB: Final = 1 << 30  # SGLang calls it GB (`mem_cache/memory_pool.py`)


def kv_pool_bytes(loads: Iterable[Any]) -> int | None:  # SGLang has no types
    """Reads what each GPU holds for the KV cache, from the load snapshots of the schedulers.

    Of several copies of the model the smallest; None where one does not tell.
    """
    sizes = [_size(load) for load in loads]
    return int(min(sizes) * _GIB) if sizes and all(sizes) else None


def _size(load: Any) -> float:
    # An older release may lack either, and some pools tell a size of 0.
    memory = getattr(load, "memory", None)
    return float(getattr(memory, "kv_cache_gb", 0.0))
