"""What importing SGLang costs on a CPU, in each of its three processes; most of a start is that.

    python bench/startup.py [--rounds 4]

With and without flashinfer hidden, in turn, in a new process each; the engine is not started.
Seconds of CPU, as the machine may be busy: median, least and largest.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from importlib import import_module

from tokenwire.server.engines.sglang.cpu import (
    cpu_environment,
    hide_gpu_packages,
    offer_kernel_stand_in,
)

MODULES = ("sglang.srt.entrypoints.engine", "sglang.srt.models.registry")
"""What every process imports; and all models, which the scheduler imports beside it."""


def import_all(*, is_hidden: bool) -> list[float]:
    """Imports in this process; seconds of CPU for each of `MODULES`, torch included."""
    os.environ |= cpu_environment(1)
    seconds: list[float] = []
    start_s = time.process_time()
    if is_hidden:
        hide_gpu_packages()
    offer_kernel_stand_in()
    for module in MODULES:
        import_module(module)
        seconds.append(time.process_time() - start_s)
        start_s = time.process_time()
    return seconds


def main() -> None:
    """Compares, or imports where `--hidden` or `--shown` asks this process to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--hidden", action="store_true")
    parser.add_argument("--shown", action="store_true")
    options = parser.parse_args()
    if options.hidden or options.shown:
        print(*import_all(is_hidden=options.hidden))
        return
    found: dict[str, list[list[float]]] = {"--shown": [], "--hidden": []}
    for _ in range(options.rounds):
        for way, seconds in found.items():
            command = [sys.executable, "-P", __file__, way]
            done = subprocess.run(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
            )
            seconds.append([float(word) for word in done.stdout.splitlines()[-1].split()])
    for way, seconds in found.items():
        for module, values in zip(MODULES, zip(*seconds, strict=True), strict=True):
            print(
                f"flashinfer {way.removeprefix('--'):<7}{module:<32}"
                f"{statistics.median(values):6.1f} ({min(values):.1f} to {max(values):.1f}) s"
            )


if __name__ == "__main__":
    main()
