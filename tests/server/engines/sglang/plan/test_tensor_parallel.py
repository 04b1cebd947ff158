from __future__ import annotations

import pytest
from tokenwire.server.engines.sglang.plan.tensor_parallel import LayerShape


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        (LayerShape(32, 8, 14336), (1, 2, 4, 8)),  # Llama 3.1 8B
        (LayerShape(64, 8, 28672), (1, 2, 4, 8)),  # Llama 3.1 70B
        (LayerShape(28, 4, 18944), (1, 2, 4)),  # Qwen 2.5 7B: 28 heads do not come out even in 8
        (LayerShape(9, 3, 1536), (1, 3)),  # SmolLM2 135M
        (LayerShape(16, 1, 8192), (1, 2, 4, 8)),  # one KV head is copied
        (LayerShape(12, 4, 4096), (1, 2, 4)),  # 6 would cut its 4 KV heads
    ],
)
def test_sizes_come_out_even(shape: LayerShape, sizes: tuple[int, ...]) -> None:
    """Heads, KV heads and the width of the MLP divide, or the KV heads are copied evenly."""
    assert shape.tensor_parallel_sizes(8) == sizes


def test_an_unknown_shape_allows_every_size() -> None:
    """SGLang itself then says what does not come out even."""
    assert LayerShape().tensor_parallel_sizes(3) == (1, 2, 3)
