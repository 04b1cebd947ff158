from __future__ import annotations

import pytest
from tokenwire.server.settings.memory_amount import MemoryAmount

TOTAL = 80 * 10**9


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [
        ("0.4", 32 * 10**9),
        ("1", TOTAL),
        ("20GiB", 20 << 30),
        ("1.5 gb", 1_500_000_000),
        ("512MiB", 512 << 20),
        ("1TB", 10**12),
        ("12345B", 12345),
    ],
)
def test_amounts(text: str, num_bytes: int) -> None:
    """A share is one of the device, a size is a size, with its unit's own base."""
    assert MemoryAmount.parse(text).of(TOTAL) == num_bytes
    assert MemoryAmount.parse(str(MemoryAmount.parse(text))).of(TOTAL) == num_bytes


@pytest.mark.parametrize("text", ["", "0", "-0.5", "1.2", "40%", "20G", "nan", "lots"])
def test_what_is_no_amount(text: str) -> None:
    """The message says both forms."""
    with pytest.raises(ValueError, match="neither a share in"):
        MemoryAmount.parse(text)
