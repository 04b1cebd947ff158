"""What SGLang needs to run on a machine with no accelerator."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Final

COMPAT_FOLDER: Final = Path(__file__).parent / "compat"
"""Holds the stand-in for `sgl_kernel`; on `sys.path` of the host and its children alone."""

GPU_ONLY_FOLDER: Final = Path(__file__).parent / "gpu_only"
"""Holds packages that fail to import, in place of those that cost time and need a GPU."""


def default_num_threads() -> int:
    """Counts the threads to compute with, leaving a CPU to tokenizer, detokenizer and front."""
    return max(1, len(os.sched_getaffinity(0)) - 1)


def cpu_environment(num_threads: int | None) -> dict[str, str]:
    """Tells SGLang and torch to compute on the CPU.

    `OMP_WAIT_POLICY`: threads that spin at barriers make decode 9 to 20 times slower as soon as
    any other process uses one of the cores.
    """
    return {
        "SGLANG_USE_CPU_ENGINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_NUM_THREADS": str(num_threads or default_num_threads()),
    }


def offer_kernel_stand_in() -> bool:
    """Puts the stand-in first on `sys.path` where the real `sgl_kernel` cannot load.

    Must run before sglang is imported. Spawned children inherit `sys.path`. Returns whether the
    stand-in is in use.
    """
    try:
        importlib.import_module("sgl_kernel")
    except (ImportError, OSError, RuntimeError):  # no libcuda, or built for another torch
        for name in [name for name in sys.modules if name.partition(".")[0] == "sgl_kernel"]:
            del sys.modules[name]
        sys.path.insert(0, str(COMPAT_FOLDER))
        return True
    return False


def hide_gpu_packages() -> None:
    """Makes packages that need a GPU look as if they were not installed.

    Must run before sglang is imported. Spawned children inherit `sys.path`. Measured: a fifth of
    the import of host and detokenizer, a tenth of the scheduler's (bench/startup.py).
    """
    sys.path.insert(0, str(GPU_ONLY_FOLDER))
