"""The single checks of bench/gpu_checks.py: each starts engines, and returns its figures."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import statistics
import time
import uuid
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

from gpu_check_engine import (
    GIB,
    QUESTION,
    STORY,
    Bench,
    Failure,
    Skipped,
    ask,
    paris,
    speed,
    started,
)
from tokenwire.server.contract.engine import EngineRequest, SamplingParams
from tokenwire.server.contract.engine_settings import ModelFormat
from tokenwire.server.contract.errors import EngineLost
from tokenwire.server.contract.isq_type import IsqType
from tokenwire.server.contract.prompts import TextPrompt
from tokenwire.server.machine.gpus import visible_gpus


async def check_answer(bench: Bench) -> str:
    async with started(bench.model, bench.settings) as engine:
        text = await paris(engine)
        return f"{text}; {engine.info.engine}, pool {engine.num_pool_tokens} tokens"


async def check_pool(bench: Bench) -> str:
    bench.needs_gpu()
    async with started(bench.model, bench.settings) as engine:
        plain = engine.num_pool_tokens
    async with started(bench.model, replace(bench.settings, fp8_kv_cache=True)) as engine:
        fp8, info = engine.num_pool_tokens, engine.info
    ratio = fp8 / plain
    figures = f"{plain} tokens, in FP8 {fp8}: {ratio:.2f} times; scales {info.has_kv_cache_scales}"
    if info.kv_cache_dtype != "fp8_e4m3" or not 1.9 <= ratio <= 2.1:
        raise Failure(f"{figures}, {info.kv_cache_dtype}; expected 1.9 to 2.1")
    return figures


async def check_fp8_answer(bench: Bench) -> str:
    bench.needs_gpu()
    settings = replace(bench.settings, fp8_kv_cache=True, prefix_caching=True)
    async with started(bench.model, settings) as engine:
        return await paris(engine)


async def check_prefix(bench: Bench) -> str:
    settings = replace(bench.settings, prefix_caching=True)
    async with started(bench.model, settings) as engine:
        repeat = bench.prefix_tokens // len((await engine.render(TextPrompt(STORY))).token_ids)
        misses: list[float] = []
        hits: list[float] = []
        shares: list[float] = []
        for index in range(3):
            prompt = TextPrompt(f"{index} " + STORY * max(1, repeat))
            misses.append((await ask(engine, prompt, 1)).ttft_s)
            again = await ask(engine, prompt, 1)
            hits.append(again.ttft_s)
            shares.append(again.num_cached_tokens / again.num_prompt_tokens)
    miss, hit, share = map(statistics.median, (misses, hits, shares))
    figures = f"TTFT {miss * 1000:.0f} ms, with a hit {hit * 1000:.0f} ms; {share:.1%} cached"
    if share < 0.95 or hit >= miss:
        raise Failure(f"{figures}; expected 95 % cached and a smaller TTFT")
    return figures


async def check_speed(bench: Bench) -> str:
    settings = replace(bench.settings, max_running=max(bench.streams))
    figures: list[str] = []
    async with started(bench.model, settings) as engine:
        await speed(engine, bench.streams[-1], 8)  # kernels are compiled at their first use
        for num_streams in bench.streams:
            rate = await speed(engine, num_streams, bench.num_tokens)
            figures.append(f"{num_streams}: {rate:.1f}")
    return f"tokens/s at streams: {', '.join(figures)}"


async def check_share(bench: Bench) -> str:
    bench.needs_gpu()
    before = min(gpu.free_bytes for gpu in visible_gpus())
    limit = before // 2
    async with started(bench.model, replace(bench.settings, memory_bytes=limit)) as engine:
        await speed(engine, 16, 64)
        taken = before - min(gpu.free_bytes for gpu in visible_gpus())
    figures = f"{taken / GIB:.1f} GiB taken of {limit / GIB:.1f} GiB allowed"
    if taken > limit * 1.05:
        raise Failure(figures)
    return figures


async def check_isq_fp8(bench: Bench) -> str:
    bench.needs_gpu()
    return await _check_isq(bench, IsqType.Q8_0, "fp8")


async def check_isq_4bit(bench: Bench) -> str:
    bench.needs_gpu()
    if importlib.util.find_spec("bitsandbytes") is None:
        raise Skipped("the package bitsandbytes is not installed")
    return await _check_isq(bench, IsqType.Q4_K, "bitsandbytes")


async def _check_isq(bench: Bench, isq: IsqType, expected: str) -> str:
    async with started(bench.model, bench.settings) as engine:
        plain, plain_speed = engine.num_pool_tokens, await speed(engine, 1, bench.num_tokens)
    async with started(bench.model, replace(bench.settings, isq=isq)) as engine:
        text = await paris(engine)
        smaller, faster = engine.num_pool_tokens, await speed(engine, 1, bench.num_tokens)
        kind = engine.info.quantization
    figures = (
        f"{kind}, {text}; pool {plain} to {smaller} tokens, one stream {plain_speed:.1f} to "
        f"{faster:.1f} tokens/s"
    )
    if kind != expected or smaller <= plain:
        raise Failure(f"{figures}; expected {expected} and a larger pool")
    return figures


async def check_gguf(bench: Bench) -> str:
    bench.needs_gpu()
    files = sorted(bench.folder("gguf").glob("*.gguf"))
    if not files:
        raise Skipped("no file in gguf")
    texts: list[str] = []
    for file in files:
        async with started(file, bench.settings, ModelFormat.GGUF) as engine:
            texts.append(f"{file.stem} {await paris(engine)}")
    return "; ".join(texts)


async def check_gptq(bench: Bench) -> str:
    return await _check_checkpoint(bench, "gptq")


async def check_awq(bench: Bench) -> str:
    return await _check_checkpoint(bench, "awq")


async def check_fp8(bench: Bench) -> str:
    return await _check_checkpoint(bench, "fp8")


async def check_vision(bench: Bench) -> str:
    return await _check_checkpoint(bench, "vision")


async def _check_checkpoint(bench: Bench, name: str) -> str:
    bench.needs_gpu()
    async with started(bench.folder(name), bench.settings) as engine:
        text = await paris(engine)
        return f"{engine.info.quantization}, {text}, pool {engine.num_pool_tokens} tokens"


async def check_lora(bench: Bench) -> str:
    bench.needs_gpu()
    adapters = {path.name: path for path in sorted(bench.folder("lora").iterdir()) if path.is_dir()}
    settings = replace(bench.settings, lora_adapters=adapters, prefix_caching=True)
    async with started(bench.model, settings) as engine:
        names = ["", *adapters]
        answers = await asyncio.gather(*(ask(engine, QUESTION, 24, adapter=name) for name in names))
        again = await ask(engine, QUESTION, 24)
    texts = [
        f"{name or 'none'}: {answer.text!r}" for name, answer in zip(names, answers, strict=True)
    ]
    if again.text != answers[0].text:
        raise Failure(f"without an adapter {answers[0].text!r}, then {again.text!r}")
    return "; ".join(texts)


async def check_speculative(bench: Bench) -> str:
    bench.needs_gpu()
    draft = bench.folder("draft")
    async with started(bench.model, bench.settings) as engine:
        plain = await speed(engine, 1, bench.num_tokens)
        expected = await ask(engine, QUESTION, 24)
    settings = bench.options(
        speculative_algorithm="EAGLE",
        speculative_draft_model_path=draft,
        speculative_num_steps=3,
        speculative_eagle_topk=1,
        speculative_num_draft_tokens=4,
    )
    async with started(bench.model, settings) as engine:
        faster = await speed(engine, 1, bench.num_tokens)
        answer = await ask(engine, QUESTION, 24)
    same = "same" if answer.text == expected.text else f"another: {answer.text!r}"
    return f"one stream {plain:.1f} to {faster:.1f} tokens/s; the greedy answer is the {same}"


async def check_tp(bench: Bench) -> str:
    bench.needs_gpu()
    if len(visible_gpus()) < 2:
        raise Skipped("needs two GPUs")
    async with started(bench.model, bench.options(tp_size=2)) as engine:
        text = await paris(engine)
        return f"{text}, pool {engine.num_pool_tokens} tokens"


async def check_crash(bench: Bench) -> str:
    async with started(bench.model, bench.settings) as engine:
        rendered = await engine.render(TextPrompt(STORY))
        params = SamplingParams(temperature=0.0, top_p=1.0, max_tokens=1000, ignore_eos=True)
        request = EngineRequest(uuid.uuid4().hex, rendered, params)
        async with aclosing(engine.generate(request)) as events:
            await anext(events)
            os.kill(_scheduler_of(engine.pid), signal.SIGKILL)
            start_s = time.perf_counter()
            try:
                async for _ in events:
                    pass
            except EngineLost:
                lost_s = time.perf_counter() - start_s
            else:
                raise Failure("the stream ended as if nothing had happened")
        why = await engine.wait_lost()
    async with started(bench.model, bench.settings) as engine:
        return f"told after {lost_s * 1000:.0f} ms ({why}); started anew: {await paris(engine)}"


def _scheduler_of(group: int) -> int:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            is_ours = os.getpgid(int(folder.name)) == group
        except (OSError, ValueError):
            continue
        if is_ours and b"scheduler" in command:
            return int(folder.name)
    raise Failure("the engine has no scheduler")
