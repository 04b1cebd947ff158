"""Stands in for SGLang's kernel package on machines where the real one cannot load.

SGLang imports these names at module level on a CPU, and calls none of them in ordinary text
generation: what it computes there goes through plain torch operators.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any, NoReturn

__version__ = "0.0.0"

Tensor = Any  # torch.Tensor; the type checkers run where torch is not installed


def assign_req_to_token_pool_cpu(  # noqa: PLR0917 - the real kernel's signature
    req_pool_indices: Tensor,
    req_to_token: Tensor,
    start: Tensor,
    end: Tensor,
    out_cache_loc: Tensor,
    pool_len: int,  # noqa: ARG001 - the width of `req_to_token`, which the tensor knows
) -> None:
    """Writes the next `end[i] - start[i]` locations into row `req_pool_indices[i]`."""
    offset = 0
    rows = zip(req_pool_indices.tolist(), start.tolist(), end.tolist(), strict=True)
    for row, first, last in rows:
        req_to_token[row, first:last] = out_cache_loc[offset : offset + last - first]
        offset += last - first


def copy_all_layer_kv_cache_cpu(
    data_ptrs: Tensor, strides: Tensor, tgt_loc: Tensor, src_loc: Tensor
) -> None:
    """Copies row `src_loc[j]` to row `tgt_loc[j]` in every layer; the rows may overlap."""
    sources, targets = src_loc.tolist(), tgt_loc.tolist()
    for base, stride in zip(data_ptrs.tolist(), strides.tolist(), strict=True):
        rows = [ctypes.string_at(base + source * stride, stride) for source in sources]
        for target, row in zip(targets, rows, strict=True):
            ctypes.memmove(base + target * stride, row, stride)


def _speculative(*_: Any, **__: Any) -> NoReturn:  # takes whatever the real kernels take
    raise NotImplementedError("speculative decoding needs SGLang's own kernels, not a plain CPU")


assign_draft_cache_locs_contiguous_cpu = _speculative
assign_extend_cache_locs_cpu = _speculative
fill_accept_out_cache_loc_cpu = _speculative
fill_bonus_tokens_cpu = _speculative
build_tree_kernel_efficient_cpu = _speculative
verify_tree_greedy_cpu = _speculative


# What SGLang looks up, and does not call, while it imports its vision models: without them it
# leaves out Qwen2.5-VL, whose image processor stands in one file with that of Qwen3.5.
_LOOKED_UP = (
    "fused_moe_router_cpu",
    "fused_qk_gemma_rmsnorm_cpu",
    "fused_qk_gemma_rmsnorm_with_gate_cpu",
    "fused_qkvzba_split_reshape_cat_contiguous_cpu",
    "fused_sigmoid_mul_cpu",
)


def _define_operators(torch: Any) -> Any:
    """Defines operators that cannot be called."""
    library = torch.library.Library("sgl_kernel", "FRAGMENT")
    for name in _LOOKED_UP:
        library.define(f"{name}() -> ()")
    return library


# Kept: an operator ends with the library that defines it. Not imported here, as SGLang has done it.
_operators = _define_operators(sys.modules["torch"]) if "torch" in sys.modules else None


def __getattr__(name: str) -> NoReturn:
    """Fails as an import of a missing name does, so that guards around imports still work.

    Names with two underscores are Python's own, which looks for them and must find them absent.
    """
    if name.startswith("__"):
        raise AttributeError(name)
    raise ImportError(f"the stand-in for sgl_kernel has no '{name}': it needs SGLang's own kernels")
