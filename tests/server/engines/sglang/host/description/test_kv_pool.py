"""The size of SGLang's KV pool, from what its schedulers tell."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tokenwire.server.engines.sglang.host.description.kv_pool import kv_pool_bytes

GIB = 1 << 30


def load(size_gib: float) -> Any:
    """A load snapshot, as far as it is read."""
    return SimpleNamespace(memory=SimpleNamespace(kv_cache_gb=size_gib))


@pytest.mark.parametrize(
    ("loads", "size"),
    [
        ([load(42.5)], int(42.5 * GIB)),
        ([load(40), load(38)], 38 * GIB),
        ([load(40), load(0)], None),
        ([SimpleNamespace(memory=None)], None),
        ([SimpleNamespace()], None),
        ([], None),
    ],
)
def test_size_of_the_pool(loads: list[Any], size: int | None) -> None:
    """The smallest copy counts, and one that is silent makes it unknown."""
    assert kv_pool_bytes(loads) == size
