"""The checks of docs/gpu-checks.md: runs those whose models are there, and prints a table.

    python bench/gpu_checks.py --model FOLDER [--models FOLDER] [--only pool prefix …]

`--model` is a folder with a 16-bit checkpoint. `--models` holds what some checks need beside it:
`gguf/*.gguf`, and checkpoints in `gptq`, `awq`, `fp8`, `vision`, `draft` (of an EAGLE draft model)
and `lora/NAME` (adapters of the model). A check without its models is told as skipped.

`--device cpu` runs what a CPU can do, with small sizes: that is a test of this program.
The exit status is 0 where no check failed. LLM_ATTENTION_BACKEND and LLM_SGLANG_ARGS count here as
they do in the service.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import os
import platform
import shlex
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import gpu_check_cases as cases
from gpu_check_engine import Bench, Failure, Skipped
from tokenwire import __version__
from tokenwire.server.contract.engine_settings import Device
from tokenwire.server.contract.errors import InferenceError
from tokenwire.server.engines.sglang.settings import SglangSettings
from tokenwire.server.machine.gpus import visible_gpus

Check = Callable[[Bench], Awaitable[str]]

CHECKS: dict[str, Check] = {
    "answer": cases.check_answer,
    "pool": cases.check_pool,
    "fp8-answer": cases.check_fp8_answer,
    "prefix": cases.check_prefix,
    "speed": cases.check_speed,
    "share": cases.check_share,
    "isq-fp8": cases.check_isq_fp8,
    "isq-4bit": cases.check_isq_4bit,
    "gguf": cases.check_gguf,
    "gptq": cases.check_gptq,
    "awq": cases.check_awq,
    "fp8": cases.check_fp8,
    "vision": cases.check_vision,
    "lora": cases.check_lora,
    "speculative": cases.check_speculative,
    "tp": cases.check_tp,
    "crash": cases.check_crash,
}


def settings_for(device: Device) -> SglangSettings:
    """The settings that every check begins with."""
    on_cpu = device is Device.CPU
    return SglangSettings(
        device,
        max_running=4 if on_cpu else 256,
        max_model_len=2048 if on_cpu else None,
        attention_backend=os.environ.get("LLM_ATTENTION_BACKEND", ""),
        extra_args=tuple(shlex.split(os.environ.get("LLM_SGLANG_ARGS", ""))),
    )


def machine() -> list[str]:
    """What the figures depend on, a line each."""
    packages = ("sglang", "sglang-kernel", "torch", "transformers", "triton", "bitsandbytes")
    versions: list[str] = []
    for package in packages:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"no {package}")
    gpus = [f"{gpu.name}, {gpu.total_bytes / 2**30:.0f} GiB" for gpu in visible_gpus()]
    return [
        f"date: {date.today().isoformat()}",
        f"tokenwire {__version__}, Python {platform.python_version()}, {', '.join(versions)}",
        f"GPUs: {'; '.join(gpus) or 'none'}",
    ]


async def run_check(check: Check, bench: Bench) -> tuple[str, str]:
    """Runs one check; returns how it ended, and its figures or its reason."""
    try:
        async with asyncio.timeout(bench.limit_s):
            return "passed", await check(bench)
    except Skipped as reason:
        return "skipped", str(reason)
    except InferenceError as error:
        return "FAILED", f"{error.message}: {error.detail}" if error.detail else error.message
    except Failure as error:
        return "FAILED", str(error)
    except TimeoutError:
        return "FAILED", f"not done within {bench.limit_s:.0f} s"


async def run(names: list[str], bench: Bench) -> bool:
    """Runs checks one after another and prints a table; returns whether none failed."""
    print(*machine(), sep="\n")
    print("\n| check | result | figures | took |\n| --- | --- | --- | --- |", flush=True)
    has_failed = False
    for name in names:
        start_s = time.perf_counter()
        result, figures = await run_check(CHECKS[name], bench)
        took_s = time.perf_counter() - start_s
        line = " ".join(figures.replace("|", "/").split())
        print(f"| {name} | {result} | {line} | {took_s:.0f} s |", flush=True)
        has_failed |= result == "FAILED"
    return not has_failed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--models", type=Path, default=Path())
    parser.add_argument("--only", nargs="+", choices=CHECKS, default=list(CHECKS))
    parser.add_argument("--device", type=Device, default=Device.CUDA, metavar="{cuda,cpu}")
    parser.add_argument("--streams", type=int, nargs="+", help="default 1 64 256; on a CPU 1 2 4")
    parser.add_argument("--tokens", type=int, help="of each answer, default 256; on a CPU 16")
    parser.add_argument("--limit", type=float, default=900, help="seconds for one check")
    given = parser.parse_args()
    on_cpu = given.device is Device.CPU
    bench = Bench(
        model=given.model.resolve(),
        models=given.models.resolve(),
        settings=replace(settings_for(given.device), load_timeout_s=given.limit),
        streams=given.streams or ([1, 2, 4] if on_cpu else [1, 64, 256]),
        num_tokens=given.tokens or (16 if on_cpu else 256),
        prefix_tokens=600 if on_cpu else 4000,
        limit_s=given.limit,
    )
    if not asyncio.run(run(given.only, bench)):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
