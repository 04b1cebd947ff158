"""Weights of linear layers in 8 and 4 bits, for a CPU. Needs torch alone."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final, Protocol, Self

torch: Any = import_module("torch")  # the type checkers run where it is not installed
Tensor = Any  # torch.Tensor

BLOCK_WEIGHTS: Final = 1 << 20
"""How many weights are unpacked or quantised at a time.

In float32 that is 4 MiB, which stays in a core's share of the cache; a quarter of it, or 16 times
as much, was 1.2 and 1.6 times slower on SmolLM2-135M.
"""

INT8_KERNEL_MAX_ROWS: Final = 4
"""Up to this many rows of input torch's int8 kernel is faster than unpacking the weights.

Its work grows with every row: at 16 rows it took 1.3 times as long.
"""

INT8_KERNEL_INPUTS: Final = 16
"""torch's int8 kernel reads past the end of rows whose length is no multiple of this."""

GROUP_SIZE: Final = 32
"""Weights of a row that share a scale and a zero point in 4 bits: the least that torch takes."""

INT4_OUTPUTS: Final = 16
"""torch's int4 kernel takes layers whose outputs are a multiple of this."""

INT4_RANGES: Final = (1.0, 0.92, 0.84)
"""Shares of a group's range that the 16 steps are laid over; the one with the least error is kept.

To cut the extremes off makes the steps finer. Measured on SmolLM2-135M with its channels in another
order (bench/isq.py): perplexity 1.22 times the original's instead of 1.30.
"""

TINY: Final = 1e-30
"""Divides in place of 0; far below every scale of a real weight, and a number in bfloat16, too."""


class Workspace:
    """Memory for unpacked weights, reused: to get it anew would cost more than to fill it."""

    def __init__(self) -> None:
        self._memory: Tensor = torch.empty(0)

    def like(self, block: Tensor, dtype: Any) -> Tensor:
        """Gives a tensor of the shape of `block`, valid until the next call."""
        if self._memory.dtype != dtype or self._memory.numel() < block.numel():
            self._memory = torch.empty(max(BLOCK_WEIGHTS, block.numel()), dtype=dtype)
        return self._memory[: block.numel()].view_as(block)


class PackedWeight(Protocol):
    """The weights of one linear layer, packed."""

    @property
    def tensor(self) -> Tensor:
        """The packed values, without scales."""
        ...

    @property
    def num_bytes(self) -> int:
        """What they take in memory, scales included."""
        ...

    def multiply(self, x: Tensor) -> Tensor:
        """Computes `x @ weights.T`; x: [num_rows, num_inputs], in the model's dtype."""
        ...


class Int8Weight:
    """One scale for each output, no zero point: w = value * scale, |value| <= 127."""

    def __init__(self, values: Tensor, scales: Tensor, workspace: Workspace) -> None:
        self.tensor = values
        self._scales = scales
        self._workspace = workspace
        self._rows_per_block = max(1, BLOCK_WEIGHTS // values.shape[1])
        self._blocks = values.split(self._rows_per_block)

    @classmethod
    def pack(cls, weight: Tensor, workspace: Workspace) -> Self:
        """Quantises [num_outputs, num_inputs]; its dtype is that of the inputs to come."""
        values = torch.empty(weight.shape, dtype=torch.int8)
        scales = torch.empty(weight.shape[0], dtype=weight.dtype)
        rows_per_block = max(1, BLOCK_WEIGHTS // weight.shape[1])
        for start in range(0, weight.shape[0], rows_per_block):
            rows = slice(start, start + rows_per_block)
            block = weight[rows].float()
            # Rounded to the dtype in which it will be used before the values are computed with it.
            scales[rows] = block.abs().amax(1) / 127
            # A row of zeros, as that of an unused token, has the scale 0.
            divisor = scales[rows].float().clamp_min(TINY)
            values[rows] = (block / divisor[:, None]).round_().clamp_(-127, 127).to(torch.int8)
        return cls(values, scales, workspace)

    @property
    def num_bytes(self) -> int:
        """What they take in memory, scales included."""
        return int(self.tensor.nbytes + self._scales.nbytes)

    def multiply(self, x: Tensor) -> Tensor:
        """Computes `x @ weights.T`; x: [num_rows, num_inputs], in the model's dtype.

        torch's packed kernel serves few rows in bfloat16. In float32 that kernel is a plain loop,
        ten times slower than unpacking, which at any number of rows is faster than float32 weights.
        """
        if (
            x.dtype == torch.bfloat16
            and x.shape[0] <= INT8_KERNEL_MAX_ROWS
            and x.shape[1] % INT8_KERNEL_INPUTS == 0
        ):
            return torch._weight_int8pack_mm(x.contiguous(), self.tensor, self._scales)
        out = x.new_empty(x.shape[0], self.tensor.shape[0])
        for block, part in zip(self._blocks, out.split(self._rows_per_block, 1), strict=True):
            unpacked = self._workspace.like(block, x.dtype).copy_(block)
            torch.mm(x, unpacked.t(), out=part)
        return out.mul_(self._scales)

    def rows(self, indices: Tensor) -> Tensor:
        """Looks rows up, as an embedding does."""
        return self.tensor[indices].to(self._scales.dtype) * self._scales[indices].unsqueeze(-1)


class Int4Weight:
    """A scale and a zero point for each group of a row: w = (value - 8) * scale + zero."""

    def __init__(self, packed: Tensor, scales_and_zeros: Tensor, group_size: int) -> None:
        self.tensor = packed
        self._scales_and_zeros = scales_and_zeros
        self._group_size = group_size

    @staticmethod
    def fits(num_outputs: int, num_inputs: int, group_size: int = GROUP_SIZE) -> bool:
        """Says whether torch's kernel takes a layer of this size."""
        return num_outputs % INT4_OUTPUTS == 0 and num_inputs % group_size == 0

    @classmethod
    def pack(cls, weight: Tensor, group_size: int = GROUP_SIZE) -> Self:
        """Rounds [num_outputs, num_inputs] to the nearest of 16 steps, group by group."""
        num_outputs, num_inputs = weight.shape
        packed = torch.empty(num_outputs, num_inputs // 2, dtype=torch.uint8)
        scales_and_zeros = torch.empty(
            num_inputs // group_size, num_outputs, 2, dtype=torch.bfloat16
        )
        # The kernel packs 64 rows together.
        rows_per_block = max(1, BLOCK_WEIGHTS // num_inputs // 64) * 64
        for start in range(0, num_outputs, rows_per_block):
            rows = slice(start, start + rows_per_block)
            values, scales, zeros = _round_groups(
                weight[rows].float().unflatten(1, (-1, group_size))
            )
            packed[rows] = torch.ops.aten._convert_weight_to_int4pack_for_cpu(values.flatten(1), 1)
            scales_and_zeros[:, rows] = torch.stack([scales.t(), zeros.t()], dim=2)
        return cls(packed, scales_and_zeros, group_size)

    @property
    def num_bytes(self) -> int:
        """What they take in memory, scales and zero points included."""
        return int(self.tensor.nbytes + self._scales_and_zeros.nbytes)

    def multiply(self, x: Tensor) -> Tensor:
        """Computes `x @ weights.T`; x: [num_rows, num_inputs], in the model's dtype.

        In bfloat16 whatever the model's dtype: torch's kernel for float32 is a plain loop. What
        that rounds off is a tenth of what 4 bits do.
        """
        out = torch.ops.aten._weight_int4pack_mm_for_cpu(
            x.to(torch.bfloat16).contiguous(),
            self.tensor,
            self._group_size,
            self._scales_and_zeros,
        )
        return out.to(x.dtype)


def _round_groups(groups: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gives values, scales and zero points for float32 [num_outputs, num_groups, group_size]."""
    least, largest = groups.aminmax(dim=2, keepdim=True)
    middle, half = (least + largest) / 2, (largest - least) / 2
    best: tuple[Tensor, ...] | None = None
    for share in INT4_RANGES:
        # Rounded to what the kernel reads before the values are computed with it. Never 0: a group
        # of equal weights has the scale 0.
        scales = (half * share * 2 / 15).clamp_min(TINY).bfloat16().float()
        zeros = (middle - half * share + scales * 8).bfloat16().float()
        values = ((groups - zeros) / scales + 8).round_().clamp_(0, 15)
        error = ((values - 8) * scales + zeros - groups).square_().sum(2, keepdim=True)
        if best is None:
            best = error, values, scales, zeros
        else:
            is_better = error < best[0]
            found = (error, values, scales, zeros)
            best = tuple(
                torch.where(is_better, new, old) for new, old in zip(found, best, strict=True)
            )
    assert best is not None
    _, values, scales, zeros = best
    return values.to(torch.int32), scales.squeeze(2), zeros.squeeze(2)
