"""An engine that generates on a clock: a token for every request at each tick, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from tokenwire.server.contract.engine import (
    Capabilities,
    EngineRequest,
    EngineStatus,
    ModelInfo,
    StepCount,
)
from tokenwire.server.contract.events import (
    ChoiceFinished,
    EngineEvent,
    Finished,
    FinishReason,
    Started,
    TextDelta,
)
from tokenwire.server.contract.load_progress import ReportProgress
from tokenwire.server.contract.prompts import Prompt, RenderedPrompt
from tokenwire.server.contract.token_ids import TokenIds
from tokenwire.server.models.model_state import PreparedModel

TOKEN = " token"
NUM_PROMPT_TOKENS = 16
_DELTA = TextDelta(TOKEN, 1, (7,))


def ending(num_tokens: int) -> Sequence[EngineEvent]:
    """Returns the events behind the last token."""
    return (ChoiceFinished(FinishReason.LENGTH), Finished(num_tokens, 0))


class Pacer:
    """Ticks `rate` times a second: one timer, however many wait for it.

        first = pacer.num_ticks + 1
        await pacer.reach(first)

    It never slows down for those who wait: whoever is late finds ticks that are over already.
    """

    def __init__(self, rate: float) -> None:
        self.num_ticks = 0
        self._rate = rate
        self.pid = -1  # of no process
        self._waiters: list[asyncio.Future[None]] = []
        self._loop = asyncio.get_running_loop()
        self._start_s = self._loop.time()
        self._tick()

    async def reach(self, tick: int) -> None:
        """Waits for a tick; returns at once where it is over."""
        while self.num_ticks < tick:
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter

    def _tick(self) -> None:
        self.num_ticks = int((self._loop.time() - self._start_s) * self._rate)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():  # cancelled
                waiter.set_result(None)
        self._loop.call_at(self._start_s + (self.num_ticks + 1) / self._rate, self._tick)


class PacedEngine:
    """Gives every request one token a tick, until its max_tokens."""

    def __init__(self, pacer: Pacer, num_streams: int) -> None:
        self._pacer = pacer
        self.info = ModelInfo(
            engine="paced 1",
            device="cpu",
            num_parameters=1,
            format="none",
            quantization="none",
            kv_cache_dtype="none",
            context_length=2**30,
            vocab_size=100,
            max_running=num_streams,
            capabilities=Capabilities(
                chat=True,
                fill_in_the_middle=False,
                seeds=False,
                token_ids=True,
                min_tokens=False,
                stop_token_ids=False,
            ),
        )

    async def render(self, prompt: Prompt) -> RenderedPrompt:  # noqa: ARG002 - all are the same
        return RenderedPrompt(TokenIds.of(range(NUM_PROMPT_TOKENS)))

    async def generate(self, request: EngineRequest) -> AsyncGenerator[EngineEvent]:
        first = self._pacer.num_ticks + 1
        yield Started(0)
        for number in range(request.params.max_tokens):
            await self._pacer.reach(first + number)
            yield _DELTA
        for event in ending(request.params.max_tokens):
            yield event

    async def status(self) -> EngineStatus:
        return EngineStatus(0, 0)

    async def count_steps(self) -> StepCount:
        return StepCount(0)

    async def read_metrics(self) -> str:
        return ""

    async def wait_lost(self) -> str:
        await asyncio.Event().wait()  # until cancelled: it never dies
        raise AssertionError

    async def close(self) -> None:
        pass


class PacedLauncher:
    """Hands out one engine; prepares it for every model, too."""

    def __init__(self, engine: PacedEngine) -> None:
        self._engine = engine

    async def launch(self, report: ReportProgress) -> PacedEngine:  # noqa: ARG002 - no steps
        return self._engine

    async def prepare(self, model_id: str, report: ReportProgress) -> PreparedModel:  # noqa: ARG002
        return PreparedModel(self)
