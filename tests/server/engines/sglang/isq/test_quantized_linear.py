"""Linear layers in 8 and 4 bits against float64, and what the host makes of SGLang's answer."""

from __future__ import annotations

import pytest
import torch
from tokenwire.server.engines.sglang.isq import quantized_linear
from tokenwire.server.engines.sglang.isq.quantized_linear import Int4Weight, Int8Weight, Workspace

DTYPES = (torch.float32, torch.bfloat16)
SIZES = ((960, 576), (576, 1536), (64, 32), (1040, 96))
BFLOAT16_STEP = 2.0**-8
"""The largest relative error of rounding to bfloat16, twice over."""


def make_weight(num_outputs: int, num_inputs: int, dtype: torch.dtype) -> torch.Tensor:
    """Normally distributed, as trained weights nearly are."""
    generator = torch.Generator().manual_seed(num_outputs + num_inputs)
    return (torch.randn(num_outputs, num_inputs, generator=generator) * 0.05).to(dtype)


def make_input(num_rows: int, num_inputs: int, dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(num_rows)
    return torch.randn(num_rows, num_inputs, generator=generator).to(dtype)


def rounding_bound(x: torch.Tensor, weight: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """The largest error of `x @ weight.T` when each weight is off by at most half a `step`.

    Beside it the kernel may round inputs, weights and the result to bfloat16.
    """
    reference = x.double() @ weight.double().t()
    by_rounding = x.double().abs() @ (step.double() / 2).expand_as(weight).t()
    size = x.double().abs() @ weight.double().abs().t()
    return by_rounding * 1.01 + 2 * BFLOAT16_STEP * size + BFLOAT16_STEP * reference.abs()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("num_outputs", "num_inputs"), [*SIZES, (100, 33), (7, 24)])
@pytest.mark.parametrize("num_rows", [1, 4, 5, 33])
def test_int8_error(dtype: torch.dtype, num_outputs: int, num_inputs: int, num_rows: int) -> None:
    """A product with 8-bit weights is off by no more than half a step of each row's scale."""
    weight = make_weight(num_outputs, num_inputs, dtype)
    x = make_input(num_rows, num_inputs, dtype)
    out = Int8Weight.pack(weight, Workspace()).multiply(x)
    assert out.dtype == dtype
    step = weight.abs().amax(1, keepdim=True) / 127
    error = (out.double() - x.double() @ weight.double().t()).abs()
    assert (error <= rounding_bound(x, weight, step)).all()


def test_int8_float32_rounds_weights_only() -> None:
    """In float32 nothing but the weights is rounded: the product is that of the unpacked ones."""
    weight, x = make_weight(960, 576, torch.float32), make_input(3, 576, torch.float32)
    packed = Int8Weight.pack(weight, Workspace())
    unpacked = packed.rows(torch.arange(960))
    torch.testing.assert_close(packed.multiply(x), x @ unpacked.t(), rtol=1e-5, atol=1e-5)


def test_int8_large_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer that is packed and multiplied in many blocks comes out as in one."""
    weight, x = make_weight(1000, 48, torch.float32), make_input(5, 48, torch.float32)
    whole = Int8Weight.pack(weight, Workspace())
    monkeypatch.setattr(quantized_linear, "BLOCK_WEIGHTS", 48 * 64)
    parts = Int8Weight.pack(weight, Workspace())
    assert torch.equal(parts.tensor, whole.tensor)
    torch.testing.assert_close(parts.multiply(x), whole.multiply(x))


def test_int8_embedding() -> None:
    """Rows are looked up in the model's dtype, each off by no more than half a step."""
    weight = make_weight(64, 32, torch.bfloat16)
    rows = Int8Weight.pack(weight, Workspace()).rows(torch.tensor([[3, 60], [0, 3]]))
    assert rows.shape == (2, 2, 32)
    assert rows.dtype == torch.bfloat16
    error = (rows[0, 1].float() - weight[60].float()).abs().max()
    assert error <= weight[60].abs().max().float() * (0.5 / 127 + BFLOAT16_STEP)


@pytest.mark.parametrize("packing", ["int8", "int4"])
def test_zero_rows(packing: str) -> None:
    """Weights that are all zero, as those of an unused token, stay zero."""
    weight = make_weight(64, 32, torch.float32)
    weight[5] = 0
    packed = Int8Weight.pack(weight, Workspace()) if packing == "int8" else Int4Weight.pack(weight)
    out = packed.multiply(make_input(2, 32, torch.float32))
    assert out.isfinite().all()
    assert (out[:, 5] == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("group_size", [32, 64, 128])
@pytest.mark.parametrize("num_rows", [1, 4, 33])
def test_int4_error(dtype: torch.dtype, group_size: int, num_rows: int) -> None:
    """A product with 4-bit weights is off by no more than a group's step and what is cut off.

    At most 16 % of a group's range are cut off, half at each end: 0.08 * 15 = 1.2 steps.
    """
    weight, x = make_weight(80, 384, dtype), make_input(num_rows, 384, dtype)
    out = Int4Weight.pack(weight, group_size).multiply(x)
    assert out.dtype == dtype
    groups = weight.float().unflatten(1, (-1, group_size))
    step = (groups.amax(2) - groups.amin(2)) / 15
    error = (out.double() - x.double() @ weight.double().t()).abs()
    steps = 2 * 1.2 * step.repeat_interleave(group_size, 1)
    assert (error <= rounding_bound(x, weight, steps)).all()


@pytest.mark.parametrize(("num_outputs", "num_inputs"), SIZES)
def test_int4_mean_error(num_outputs: int, num_inputs: int) -> None:
    """On normal weights 4 bits cost no more than evenly spread rounding does.

    The range of 32 normal values is 4.1 standard deviations on the mean, a step 4.1 / 15, and the
    root of the mean square of rounding a step over the root of 12: 0.079.
    """
    weight = make_weight(num_outputs, num_inputs, torch.float32)
    x = make_input(64, num_inputs, torch.float32)
    reference = x @ weight.t()
    error = Int4Weight.pack(weight).multiply(x) - reference
    assert error.norm() / reference.norm() < 0.083


def test_int4_keeps_a_grid() -> None:
    """Weights that already lie on 16 even steps lose nothing but bfloat16's rounding."""
    generator = torch.Generator().manual_seed(1)
    values = torch.randint(0, 16, (64, 96), generator=generator).float()
    values[:, ::32], values[:, 1::32] = 0, 15
    weight = (values - 8) * 0.0078125 + 0.015625
    x = make_input(3, 96, torch.float32).bfloat16().float()
    torch.testing.assert_close(
        Int4Weight.pack(weight).multiply(x), x @ weight.t(), rtol=0.01, atol=0.01
    )


def test_int4_large_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer that is packed in many blocks comes out as torch packs it whole."""
    weight = make_weight(1040, 96, torch.float32)
    whole = Int4Weight.pack(weight)
    monkeypatch.setattr(quantized_linear, "BLOCK_WEIGHTS", 96 * 100)
    assert torch.equal(Int4Weight.pack(weight).tensor, whole.tensor)


@pytest.mark.parametrize(("size", "fits"), [((64, 64), True), ((64, 48), False), ((60, 64), False)])
def test_int4_sizes(size: tuple[int, int], fits: bool) -> None:
    """Layers whose inputs are no multiple of a group, or outputs none of 16, do not fit."""
    assert Int4Weight.fits(*size) is fits


@pytest.mark.parametrize(("packing", "least", "most"), [("int8", 0.25, 0.26), ("int4", 0.15, 0.16)])
def test_memory(packing: str, least: float, most: float) -> None:
    """Packed weights take a quarter of float32 in 8 bits and five 32nds in 4, scales included."""
    weight = make_weight(576, 1536, torch.float32)
    packed = Int8Weight.pack(weight, Workspace()) if packing == "int8" else Int4Weight.pack(weight)
    assert least <= packed.num_bytes / weight.nbytes <= most


def test_workspace_is_reused() -> None:
    """Memory for unpacked weights is asked for once, not at each step."""
    workspace = Workspace()
    first = workspace.like(torch.empty(4, 8, dtype=torch.int8), torch.float32)
    second = workspace.like(torch.empty(16, 2, dtype=torch.int8), torch.float32)
    assert first.data_ptr() == second.data_ptr()
    assert second.shape == (16, 2)
