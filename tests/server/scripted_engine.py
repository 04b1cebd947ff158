"""An engine that does what a test tells it, for timing and faults no real engine has on demand."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence

import msgspec
from tokenwire.server.contract.constraint import ALL_KINDS
from tokenwire.server.contract.engine import (
    Capabilities,
    Engine,
    EngineRequest,
    EngineStatus,
    ModelInfo,
    StepCount,
)
from tokenwire.server.contract.errors import EngineLost, InvalidRequest, ModelLoadFailed
from tokenwire.server.contract.events import (
    ChoiceFinished,
    Delta,
    EngineEvent,
    Finished,
    FinishReason,
    Prefill,
    PromptLogprobs,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
)
from tokenwire.server.contract.load_progress import LoadProgress, ReportProgress
from tokenwire.server.contract.prompts import (
    ChatPrompt,
    PlainText,
    Prompt,
    RenderedPrompt,
    TokenizedText,
)
from tokenwire.server.contract.token_ids import TokenIds
from tokenwire.server.engines.stop_matcher import StopMatcher
from tokenwire.server.models.model_state import PreparedModel

MODEL_ID = "test/scripted"


class ScriptedEngine:
    """Generates one token each time a test allows it, until the request's max_tokens.

    With a `script` every request is answered with its events, a delta each time a test allows it.
    Either way a choice ends at the request's first stop string. What engines before said of it is
    told again at once.
    """

    def __init__(
        self,
        *,
        context_length: int = 64,
        max_running: int = 2,
        lora_adapters: tuple[str, ...] = (),
        has_kv_cache_scales: bool | None = None,
        gpu_ids: tuple[str, ...] = (),
        kv_pool_bytes: int | None = None,
        script: Sequence[EngineEvent] = (),
        constraints: tuple[str, ...] = ALL_KINDS,
    ) -> None:
        self.info = ModelInfo(
            engine="scripted 1",
            device="cpu",
            num_parameters=1,
            format="none",
            quantization="none",
            kv_cache_dtype="none",
            context_length=context_length,
            vocab_size=100,
            max_running=max_running,
            capabilities=Capabilities(
                chat=True,
                fill_in_the_middle=False,
                seeds=True,
                token_ids=True,
                min_tokens=False,
                stop_token_ids=True,
                logprobs=True,
                prompt_logprobs=True,
                constraints=constraints,
            ),
            has_kv_cache_scales=has_kv_cache_scales,
            lora_adapters=lora_adapters,
            gpu_ids=gpu_ids,
            kv_pool_bytes=kv_pool_bytes,
        )
        self.script = script
        self.pid = -1  # of no process
        self.steps = StepCount(0)
        self.kv_usage: float | None = None
        self.statuses = asyncio.Event()
        self.statuses.set()
        self.requests: list[EngineRequest] = []
        self.prompts: list[Prompt] = []
        self.num_running = 0
        self.num_aborted = 0
        self.num_asked = 0  # for its status
        self.is_closed = False
        self.renders = asyncio.Event()
        self.renders.set()
        self.tells = asyncio.Event()  # of itself: its metrics
        self.tells.set()
        self.page = ""
        self.changed = asyncio.Condition()
        self.failure: BaseException | None = None
        self._tokens = asyncio.Semaphore(0)
        self._lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def allow(self, num_tokens: int) -> None:
        """Lets this many more tokens be generated, whichever request takes them."""
        for _ in range(num_tokens):
            self._tokens.release()

    def die(self, reason: str = "killed") -> None:
        """Ends as a crashed child does."""
        if not self._lost.done():
            self._lost.set_result(reason)

    async def wait_until(self, *, running: int, aborted: int = 0) -> None:
        """Waits until this many requests run and at least so many were aborted."""
        async with asyncio.timeout(45), self.changed:
            await self.changed.wait_for(
                lambda: self.num_running == running and self.num_aborted >= aborted
            )

    async def wait_until_rendering(self, num_prompts: int) -> None:
        """Waits until this many prompts came to be rendered."""
        async with asyncio.timeout(45), self.changed:
            await self.changed.wait_for(lambda: len(self.prompts) == num_prompts)

    async def render(self, prompt: Prompt) -> RenderedPrompt:
        async with self.changed:
            self.prompts.append(prompt)
            self.changed.notify_all()
        may_render = asyncio.ensure_future(self.renders.wait())
        try:
            await asyncio.wait({may_render, self._lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            may_render.cancel()
        if self._lost.done():
            raise EngineLost
        text = prompt.messages[-1].content if isinstance(prompt, ChatPrompt) else str(prompt)
        return RenderedPrompt(TokenIds.of(range(1, 1 + len(text.split()))))

    async def tokenize(self, text: PlainText) -> TokenizedText:
        """Gives each byte the id of its own value; beginning and end have 0 and 1."""
        if self._lost.done():
            raise EngineLost
        ids = [*text.text.encode()]
        pieces = tuple(bytes([byte]) for byte in ids)
        if text.add_special:
            ids, pieces = [0, *ids, 1], (b"", *pieces, b"")
        return TokenizedText(TokenIds.of(ids), pieces if text.wants_pieces else ())

    async def detokenize(self, token_ids: TokenIds) -> bytes:
        if self._lost.done():
            raise EngineLost
        if any(token_id > 0xFF for token_id in token_ids):
            raise InvalidRequest("token_ids", "are not in the vocabulary")
        return bytes(token_ids)

    async def generate(self, request: EngineRequest) -> AsyncGenerator[EngineEvent]:
        self.requests.append(request)
        await self._count(+1)
        has_ended = is_paid = False
        script = go_on(request, self.script or count(request.params.max_tokens))
        try:
            for event, is_again in script:
                if isinstance(event, Started) or (has_content(event) and not is_again):
                    failure = None if is_paid else await self._take_token()
                    if failure is not None:
                        has_ended = True
                        raise failure
                    is_paid = isinstance(event, Started)  # the first token comes right behind it
                has_ended = isinstance(event, Finished)
                yield event
        finally:
            self.num_aborted += not has_ended
            await self._count(-1)

    async def status(self) -> EngineStatus:
        async with self.changed:
            self.num_asked += 1
            self.changed.notify_all()
        await self.statuses.wait()
        if self._lost.done():
            raise EngineLost
        return EngineStatus(self.num_running, 0, self.kv_usage)

    async def count_steps(self) -> StepCount:
        if self._lost.done():
            raise EngineLost
        return self.steps

    async def read_metrics(self) -> str:
        await self.tells.wait()
        return self.page

    async def wait_lost(self) -> str:
        return await asyncio.shield(self._lost)

    async def close(self) -> None:
        self.is_closed = True
        self.die("closed")

    async def _take_token(self) -> BaseException | None:
        """Waits for a token; returns the failure that comes in its place."""
        token = asyncio.ensure_future(self._tokens.acquire())
        try:
            await asyncio.wait({token, self._lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            token.cancel()
        return EngineLost() if self._lost.done() else self.failure

    async def _count(self, change: int) -> None:
        async with self.changed:
            self.num_running += change
            self.changed.notify_all()


def count(max_tokens: int) -> Iterator[EngineEvent]:
    """What is generated without a script: a number each token, up to the limit."""
    yield Started(0)
    for number in range(max_tokens):
        yield TextDelta(f"{number} ", 1, (number,))
    yield ChoiceFinished(FinishReason.LENGTH)
    yield Finished(max_tokens, 0)


def go_on(
    request: EngineRequest, script: Iterable[EngineEvent]
) -> Iterator[tuple[EngineEvent, bool]]:
    """What a request is told of a script, and which of it engines before told already.

    Of a choice that has ended nothing is told, and the end counts the others.
    """
    num_again = Counter[int]()
    for choice, earlier in enumerate(request.earlier):
        num_again[choice] = len(earlier.token_ids)
    has_ended = {choice for choice, each in enumerate(request.earlier) if each.has_ended}
    num_tokens = 0
    for event in stop_at(request.params.stop, script):
        if isinstance(event, PromptLogprobs) and request.params.prompt_logprobs is None:
            continue
        if isinstance(event, Delta) and event.choice in has_ended:
            continue
        if isinstance(event, TextDelta | ReasoningDelta | ToolCallDelta):
            num_tokens += event.num_tokens
            is_again = num_again[event.choice] > 0 and bool(event.token_ids)
            num_again[event.choice] -= len(event.token_ids)
            if is_again and isinstance(event, TextDelta):
                event = msgspec.structs.replace(event, logprobs=())  # noqa: PLW2901
            yield event, is_again
        elif isinstance(event, Finished) and has_ended:
            yield Finished(num_tokens, event.num_cached_prompt_tokens), False
        else:
            yield event, False


def has_content(event: EngineEvent) -> bool:
    return isinstance(event, Delta) and not isinstance(event, ChoiceFinished)


def stop_at(stop: tuple[str, ...], script: Iterable[EngineEvent]) -> Iterator[EngineEvent]:
    """What is left of a script whose choices each end at their first stop string."""
    matchers = defaultdict[int, StopMatcher](lambda: StopMatcher(stop))
    ended = set[int]()
    for event in script:
        if isinstance(event, Prefill | Started | PromptLogprobs | Finished):
            yield event
            continue
        if event.choice in ended:
            continue
        passed: tuple[Delta, ...] = (event,)
        if isinstance(event, TextDelta):
            passed = matchers[event.choice].push(event)
        elif isinstance(event, ChoiceFinished):
            passed = matchers[event.choice].push(TextDelta("", 0, choice=event.choice), event)
        ended.update(each.choice for each in passed if isinstance(each, ChoiceFinished))
        yield from passed


class ScriptedLauncher:
    """Hands out the engines and failures it was given, one a launch; then it waits."""

    def __init__(self, *outcomes: Engine | ModelLoadFailed, adapters: tuple[str, ...] = ()) -> None:
        self._outcomes = list(outcomes)
        self._adapters = adapters
        self.num_launches = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def launch(self, report: ReportProgress) -> Engine:
        self.num_launches += 1
        report(LoadProgress("reading the script", 0.5))
        await self.gate.wait()
        if not self._outcomes:
            await asyncio.Event().wait()  # until cancelled: nothing more to launch
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, ModelLoadFailed):
            raise outcome
        return outcome

    async def prepare(self, model_id: str, report: ReportProgress) -> PreparedModel:  # noqa: ARG002
        return PreparedModel(self, "revision-1", self._adapters)


class ScriptedPreparation:
    """Gives each model its own launcher, or the failure of its preparation, when a test allows."""

    def __init__(self, outcomes: Mapping[str, ScriptedLauncher | ModelLoadFailed]) -> None:
        self._outcomes = outcomes
        self.asked: list[str] = []
        self.gates = {model_id: asyncio.Event() for model_id in outcomes}
        for gate in self.gates.values():
            gate.set()

    async def prepare(self, model_id: str, report: ReportProgress) -> PreparedModel:
        self.asked.append(model_id)
        report(LoadProgress("fetching the script"))
        await self.gates[model_id].wait()
        outcome = self._outcomes[model_id]
        if isinstance(outcome, ModelLoadFailed):
            raise outcome
        return await outcome.prepare(model_id, report)
