"""What in-situ quantisation on a CPU gives and costs: memory, decode speed, perplexity.

    python bench/isq.py [--rounds 3] [--tokens 64] [--keep FILE]

SGLang is started anew for each measurement, one at a time: within a round every way once, so that
a machine whose speed drifts slows all of them. Ratios are those of one round. Perplexity is that of
`isq_text.txt`, from SGLang's own log-probabilities of a prompt; the last two ways are for that
alone, and run once. `--keep` adds the measurements to a file, and counts those already there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from isq_channels import reorder_channels
from tokenwire.server.contract.engine_settings import ModelFiles, ModelFormat
from tokenwire.server.contract.model_id import DEFAULT_MODEL
from tokenwire.server.engines.sglang.cpu import cpu_environment, offer_kernel_stand_in
from tokenwire.server.engines.sglang.front.converted import provide_converted
from tokenwire.server.engines.sglang.isq.outcome import IsqOutcome
from tokenwire.server.engines.sglang.isq.request import request_isq
from unpacking import built_in_file

TEXT = Path(__file__).parent / "isq_text.txt"
ITEM_BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True, slots=True)
class Way:
    """How a model is loaded; `is_reordered`: with its channels in another order."""

    name: str
    dtype: str
    isq: str = ""
    is_reordered: bool = False


WAYS = (
    Way("bfloat16", "bfloat16"),
    Way("float32", "float32"),
    Way("int8", "float32", "int8"),
    Way("int4", "float32", "int4"),
    Way("int8 in bfloat16", "bfloat16", "int8"),
    Way("int4 in bfloat16", "bfloat16", "int4"),
)
PERPLEXITY_WAYS = (
    Way("int8, reordered", "float32", "int8", is_reordered=True),
    Way("int4, reordered", "float32", "int4", is_reordered=True),
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one start showed. Sizes are in bytes, those of the scheduler's own memory."""

    way: str
    weight_bytes: int
    resident_bytes: int
    peak_bytes: int
    tokens_per_s: float
    prefill_s: float
    perplexity: float


def scheduler_memory(pid: int) -> tuple[int, int]:
    """Reads what a process has to itself, and the most that it ever had, files included."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith(" kB")}
    return kib["RssAnon"] << 10, kib["VmHWM"] << 10


def measure(way: Way, folder: Path, num_tokens: int) -> Measurement:
    """Starts SGLang in this process and its children, once."""
    os.environ |= cpu_environment(None) | {"HF_HUB_OFFLINE": "1"}
    offer_kernel_stand_in()
    arguments = {"quantization": request_isq(way.isq)} if way.isq else {}
    # Both import SGLang, which must find what is set above.
    from tokenwire.server.engines.sglang.host.description.model_info import count_parameters  # noqa: PLC0415
    from tokenwire.server.engines.sglang.host.internals import Engine  # noqa: PLC0415

    engine = Engine(
        **arguments,
        model_path=str(folder),
        device="cpu",
        dtype=way.dtype,
        max_total_tokens=8192,
        max_running_requests=8,
        chunked_prefill_size=512,
        disable_radix_cache=True,
        sleep_on_idle=True,
    )
    try:
        scheduler = engine._scheduler_init_result
        weight_bytes = count_parameters(folder.glob("*.safetensors")) * ITEM_BYTES[way.dtype]
        if way.isq:
            outcome = IsqOutcome.read(scheduler.scheduler_infos[0], way.isq)
            weight_bytes += outcome.bytes_after - outcome.bytes_before
        resident, peak = scheduler_memory(scheduler.all_child_pids[0])

        def generate(count: int) -> float:
            start_s = time.perf_counter()
            sampling = {"temperature": 0, "max_new_tokens": count, "ignore_eos": True}
            engine.generate("Once upon a time,", sampling_params=sampling)
            return time.perf_counter() - start_s

        generate(8)  # warm-up
        speeds = [num_tokens / (generate(num_tokens + 4) - generate(4)) for _ in range(5)]
        start_s = time.perf_counter()
        answer = engine.generate(
            TEXT.read_text(),
            sampling_params={"temperature": 0, "max_new_tokens": 1},
            return_logprob=True,
            logprob_start_len=0,
        )
        prefill_s = time.perf_counter() - start_s
        found = [item[0] for item in answer["meta_info"]["input_token_logprobs"]]
        logprobs = [value for value in found if value is not None]  # none of the first token
        return Measurement(
            way.name,
            weight_bytes,
            resident,
            peak,
            statistics.median(speeds),
            prefill_s,
            math.exp(-statistics.fmean(logprobs)),
        )
    finally:
        engine.shutdown()


def measure_apart(way: Way, folder: Path, num_tokens: int) -> Measurement:
    """Measures in a process of its own, because SGLang takes over the one it runs in."""
    command = [sys.executable, __file__, "--way", way.name, "--folder", str(folder)]
    done = subprocess.run(
        [*command, "--tokens", str(num_tokens)], stdout=subprocess.PIPE, text=True, check=True
    )
    measurement = Measurement(**json.loads(done.stdout.splitlines()[-1]))
    print(f"{way.name:<18}{measurement.tokens_per_s:>7.1f} tokens/s", file=sys.stderr, flush=True)
    return measurement


def spread(values: list[float]) -> str:
    """Median, least and largest."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def report(found: list[Measurement]) -> None:
    """Prints the table."""
    by_way: dict[str, list[Measurement]] = {}
    for one in found:
        by_way.setdefault(one.way, []).append(one)

    def ratios(name: str, base: str, value: Callable[[Measurement], float]) -> str:
        pairs = zip(by_way[name], by_way.get(base, []), strict=False)
        return spread([value(one) / value(other) for one, other in pairs])

    header = ("weights, MB", "scheduler, MB", "peak, MB", "tokens/s", "to bfloat16", "to float32")
    print("| way | " + " | ".join(header) + " | prefill of the text, s | perplexity |")
    print("|" + " --- |" * 9)
    for name, all_of_it in by_way.items():
        first = all_of_it[0]
        is_timed = name in {way.name for way in WAYS}
        cells = [
            f"{first.weight_bytes / 1e6:.0f}",
            f"{statistics.median(one.resident_bytes for one in all_of_it) / 1e6:.0f}",
            f"{statistics.median(one.peak_bytes for one in all_of_it) / 1e6:.0f}",
            f"{statistics.median(one.tokens_per_s for one in all_of_it):.1f}",
            ratios(name, "bfloat16", lambda one: one.tokens_per_s) if is_timed else "",
            ratios(name, "float32", lambda one: one.tokens_per_s) if is_timed else "",
            f"{statistics.median(one.prefill_s for one in all_of_it):.1f}",
            f"{first.perplexity:.2f}",
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")


def main() -> None:
    """Measures one way, where one is named, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--way", choices=[way.name for way in (*WAYS, *PERPLEXITY_WAYS)])
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.way:
        (way,) = (way for way in (*WAYS, *PERPLEXITY_WAYS) if way.name == options.way)
        print("\n" + json.dumps(asdict(measure(way, options.folder, options.tokens))))
        return
    built_in = ModelFiles(DEFAULT_MODEL.repo, ModelFormat.GGUF, built_in_file())
    folder = asyncio.run(provide_converted(built_in, lambda _: None)).path
    found: list[Measurement] = []
    if options.keep and options.keep.exists():
        lines = options.keep.read_text().splitlines()
        found = [Measurement(**json.loads(line)) for line in lines]
    with tempfile.TemporaryDirectory() as temporary:
        reordered = Path(temporary) / "reordered"
        reorder_channels(folder, reordered)
        known = {one.way for one in found}
        once = [way for way in PERPLEXITY_WAYS if way.name not in known] if options.rounds else []
        for way in [*WAYS * options.rounds, *once]:
            one = measure_apart(way, reordered if way.is_reordered else folder, options.tokens)
            found.append(one)
            if options.keep:
                with options.keep.open("a") as stream:
                    stream.write(json.dumps(asdict(one)) + "\n")
    report(found)


if __name__ == "__main__":
    main()
