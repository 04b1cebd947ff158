"""What SGLang gets on a machine with no accelerator: kernels' stand-in, threads, environment."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from tokenwire.server.engines.sglang.cpu import COMPAT_FOLDER, cpu_environment, default_num_threads

SPECULATIVE = (
    "assign_draft_cache_locs_contiguous_cpu",
    "assign_extend_cache_locs_cpu",
    "fill_accept_out_cache_loc_cpu",
    "fill_bonus_tokens_cpu",
    "build_tree_kernel_efficient_cpu",
    "verify_tree_greedy_cpu",
)

OFFER = """
import json, sys
from tokenwire.server.engines.sglang.cpu import COMPAT_FOLDER, offer_kernel_stand_in
used = offer_kernel_stand_in()
import sgl_kernel
print(json.dumps([used, str(COMPAT_FOLDER) in sys.path, sgl_kernel.__file__]))
"""


@pytest.fixture(scope="module")
def stand_in() -> ModuleType:
    """The stand-in under a name of its own, so that no other test meets it."""
    spec = importlib.util.spec_from_file_location(
        "sgl_kernel_stand_in", COMPAT_FOLDER / "sgl_kernel" / "__init__.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_offer(tmp_path: Path, kernel: str) -> tuple[bool, bool, str]:
    """Offers the stand-in in a process that finds `kernel` as the real package first."""
    package = tmp_path / "real" / "sgl_kernel"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(kernel)
    done = subprocess.run(
        [sys.executable, "-P", "-c", OFFER],
        env={**os.environ, "PYTHONPATH": str(package.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    used, is_on_path, file = json.loads(done.stdout)
    return used, is_on_path, file


def test_real_kernels_that_load_are_left_alone(tmp_path: Path) -> None:
    """Where the real package loads, the stand-in is not even on the path."""
    used, is_on_path, file = run_offer(tmp_path, "")
    assert not used
    assert not is_on_path
    assert Path(file).is_relative_to(tmp_path)


@pytest.mark.parametrize(
    "failure",
    [
        "raise ImportError('libcuda.so.1: cannot open shared object file')",
        "raise OSError('undefined symbol')",
        "raise RuntimeError('built for another torch')",
        "import sys; sys.modules['sgl_kernel.ops'] = sys; raise ImportError('half way')",
    ],
)
def test_real_kernels_that_fail_are_replaced(tmp_path: Path, failure: str) -> None:
    """Where the real package cannot load, the next import finds the stand-in."""
    used, is_on_path, file = run_offer(tmp_path, failure)
    assert used
    assert is_on_path
    assert Path(file).is_relative_to(COMPAT_FOLDER)


def test_gpu_packages_are_hidden() -> None:
    """Packages that need a GPU cannot be imported, also by what was told `sys.path` alone."""
    program = (
        "import sys; from tokenwire.server.engines.sglang.cpu import hide_gpu_packages\n"
        "hide_gpu_packages()\n"
        "try:\n    import flashinfer\nexcept ImportError as error:\n    print(error)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "flashinfer needs a GPU\nFalse\n"


def test_assign_to_token_pool(stand_in: ModuleType) -> None:
    """Each request's row gets the next locations, from its start to its end."""
    pool = torch.zeros(4, 6, dtype=torch.int32)
    stand_in.assign_req_to_token_pool_cpu(
        torch.tensor([2, 0, 3]),
        pool,
        torch.tensor([1, 0, 4]),
        torch.tensor([4, 2, 4]),
        torch.tensor([11, 12, 13, 14, 15], dtype=torch.int32),
        6,
    )
    assert pool.tolist() == [
        [14, 15, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 11, 12, 13, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_copy_kv_cache(stand_in: ModuleType, dtype: torch.dtype) -> None:
    """Rows move in every layer, as if all were read before the first is written."""
    layers = [torch.arange(6 * 2 * 4).reshape(6, 2, 4).add(100 * i).to(dtype) for i in range(3)]
    source, target = torch.tensor([0, 1, 2, 4]), torch.tensor([1, 2, 3, 0])
    expected = [layer.clone() for layer in layers]
    for layer in expected:
        layer[target] = layer[source].clone()
    stand_in.copy_all_layer_kv_cache_cpu(
        torch.tensor([layer.data_ptr() for layer in layers], dtype=torch.uint64),
        torch.tensor([layer[0].nbytes for layer in layers]),
        target,
        source,
    )
    for layer, wanted in zip(layers, expected, strict=True):
        assert torch.equal(layer, wanted)


@pytest.mark.parametrize("name", SPECULATIVE)
def test_speculative_kernels(stand_in: ModuleType, name: str) -> None:
    """What speculative decoding calls can be imported, and says clearly that it does not work."""
    with pytest.raises(NotImplementedError, match="speculative decoding needs SGLang's own"):
        getattr(stand_in, name)(1, option=2)


def test_unknown_kernel(stand_in: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that the stand-in lacks fails as a missing name does, so that guards still work."""
    monkeypatch.setitem(sys.modules, "sgl_kernel_stand_in", stand_in)
    with pytest.raises(ImportError, match="'no_such_kernel'"):
        from sgl_kernel_stand_in import no_such_kernel  # noqa: F401 - must not be found
    with pytest.raises(ImportError, match="stand-in"):
        _ = stand_in.no_such_kernel


def test_unknown_dunder(stand_in: ModuleType) -> None:
    """Names that Python itself looks for are simply absent."""
    assert not hasattr(stand_in, "__wrapped__")
    assert stand_in.__version__


def test_threads_leave_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """One CPU is left to tokenizer, detokenizer and front."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    assert default_num_threads() == 3
    assert cpu_environment(None)["OMP_NUM_THREADS"] == "3"


def test_threads_of_one_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with one CPU computes with one thread, not with none."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert default_num_threads() == 1


def test_environment() -> None:
    """Threads that wait give their core away, no GPU is seen, and the number asked for counts."""
    environment = cpu_environment(7)
    assert environment["OMP_NUM_THREADS"] == "7"
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment["SGLANG_USE_CPU_ENGINE"] == "1"
    assert environment["CUDA_VISIBLE_DEVICES"] == ""
