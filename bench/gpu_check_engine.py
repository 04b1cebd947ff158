"""What the checks of bench/gpu_checks.py share: engines, requests, and how fast they are."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tokenwire.server.contract.engine import EngineRequest, SamplingParams
from tokenwire.server.contract.engine_settings import (
    Device,
    ModelFiles,
    ModelFormat,
)
from tokenwire.server.contract.events import Finished, Started, TextDelta
from tokenwire.server.contract.prompts import ChatMessage, ChatPrompt, Prompt, Role, TextPrompt
from tokenwire.server.engines.sglang.front.engine import SglangEngine
from tokenwire.server.engines.sglang.front.launcher import SglangLauncher
from tokenwire.server.engines.sglang.plan.checkpoint import read_checkpoint
from tokenwire.server.engines.sglang.settings import SglangSettings

QUESTION = ChatPrompt((ChatMessage(Role.USER, "What is the capital of France?"),))
STORY = "Once upon a time, in a small village by the sea, there lived an old fisherman. "
GIB = 1 << 30


class Skipped(Exception):
    """The check cannot run here; the message says why."""


class Failure(Exception):
    """What came out is not what is expected."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What the checks work with."""

    model: Path
    models: Path
    settings: SglangSettings
    streams: list[int]
    num_tokens: int
    prefix_tokens: int
    limit_s: float

    @property
    def on_cpu(self) -> bool:
        return self.settings.device is Device.CPU

    def needs_gpu(self) -> None:
        if self.on_cpu:
            raise Skipped("needs a GPU")

    def folder(self, name: str) -> Path:
        folder = self.models / name
        if not folder.is_dir():
            raise Skipped(f"no folder {name} among the models")
        return folder

    def options(self, **values: object) -> SglangSettings:
        return replace(self.settings, **values)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer and its times."""

    text: str
    num_tokens: int
    num_prompt_tokens: int
    num_cached_tokens: int
    ttft_s: float


@asynccontextmanager
async def started(
    path: Path, settings: SglangSettings, model_format: ModelFormat = ModelFormat.SAFETENSORS
) -> AsyncIterator[SglangEngine]:
    """Starts an engine, and ends it."""
    files = ModelFiles(path.name, model_format, path)
    engine = await SglangLauncher(files, settings, read_checkpoint(files)).launch(lambda _: None)
    try:
        yield engine
    finally:
        await engine.close()


async def ask(
    engine: SglangEngine,
    prompt: Prompt,
    max_tokens: int,
    *,
    adapter: str = "",
    to_end: bool = False,
) -> Answer:
    """Runs one request at temperature 0; with `to_end` to its last token whatever comes."""
    rendered = await engine.render(prompt)
    params = SamplingParams(temperature=0.0, top_p=1.0, max_tokens=max_tokens, ignore_eos=to_end)
    request = EngineRequest(uuid.uuid4().hex, rendered, params, lora_adapter=adapter)
    start_s = time.perf_counter()
    ttft_s, text, num_tokens, num_cached = 0.0, "", 0, 0
    async with aclosing(engine.generate(request)) as events:
        async for event in events:
            match event:
                case Started():
                    ttft_s = time.perf_counter() - start_s
                case TextDelta():
                    text += event.text
                case Finished():
                    num_tokens = event.num_completion_tokens
                    num_cached = event.num_cached_prompt_tokens
                case _:
                    pass
    return Answer(text, num_tokens, len(rendered.token_ids), num_cached, ttft_s)


async def speed(engine: SglangEngine, num_streams: int, num_tokens: int) -> float:
    """Returns tokens per second of `num_streams` requests together."""
    start_s = time.perf_counter()
    answers = await asyncio.gather(
        *(
            ask(engine, TextPrompt(f"{index}: {STORY}"), num_tokens, to_end=True)
            for index in range(num_streams)
        )
    )
    return sum(answer.num_tokens for answer in answers) / (time.perf_counter() - start_s)


async def paris(engine: SglangEngine, adapter: str = "") -> str:
    """Asks for the capital of France, and fails where it is not Paris."""
    answer = await ask(engine, QUESTION, 24, adapter=adapter)
    if "Paris" not in answer.text:
        raise Failure(f"the capital of France: {answer.text!r}")
    return repr(answer.text.strip())
