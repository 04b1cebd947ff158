"""A request's way to its end, whoever reads it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs
from tokenwire.server.constraints.checker import ConstraintChecker
from tokenwire.server.contract.engine import EngineRequest
from tokenwire.server.contract.errors import Draining, EngineLost, GenerationFailed, InferenceError
from tokenwire.server.contract.events import Delta, EngineEvent
from tokenwire.server.models.model_state import State
from tokenwire.server.models.ticket import Ticket
from tokenwire.server.request.calls import (
    DEADLINE_EXCEEDED,
    INTERNAL,
    CallAborted,
    CallContext,
    CallFailed,
    CallFinished,
    CallOutcome,
    Queued,
)
from tokenwire.server.request.clock import Timeline
from tokenwire.server.request.ended_request import EndedRequest
from tokenwire.server.request.inference import Inference
from tokenwire.server.request.log.request_log import RequestLog
from tokenwire.server.request.running_request import (
    RequestBroke,
    RunningRequest,
    RunningRequests,
)
from tokenwire.server.request.sampling import SamplingDefaults
from tokenwire.server.rpc.codecs.request_codec import decode_generate

from ..fronts import Client, check, start_front, wait_for_state
from ..random_deltas import said
from ..scripted_engine import ScriptedEngine, ScriptedLauncher

DEFAULTS = SamplingDefaults(temperature=0, top_p=1, max_tokens=3, max_tokens_limit=10)


@dataclass
class Recorder:
    """An observer that keeps how requests ended."""

    ended: list[EndedRequest] = field(default_factory=list[EndedRequest])

    @property
    def outcomes(self) -> list[CallOutcome]:
        return [ended.outcome for ended in self.ended]

    def record(self, ended: EndedRequest) -> None:
        assert ended.call.context == CONTEXT
        assert ended.duration_s >= 0
        self.ended.append(ended)


CONTEXT = CallContext("call-1")


@dataclass
class Bench:
    """What a test needs to run requests: where they run, and who is told of their ends."""

    client: Client
    requests: RunningRequests
    recorders: tuple[Recorder, Recorder]

    def start(self, model: str = "") -> RunningRequest:
        client = self.client.on(model) if model else self.client
        return self.requests.start(decode_generate(client.prompt("go"), CONTEXT))

    def assert_recorded(self, *outcomes: CallOutcome | None) -> None:
        """Each observer was told these ends, and no other."""
        assert [recorder.outcomes for recorder in self.recorders] == [list(outcomes)] * 2


@asynccontextmanager
async def bench_on(engine: ScriptedEngine) -> AsyncGenerator[Bench]:
    """Requests on an engine, without calls."""
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        recorders = Recorder(), Recorder()
        inference = Inference(
            client.app.models, DEFAULTS, queue_timeout_s=30, constraints=ConstraintChecker()
        )
        requests = RunningRequests(inference, *(recorder.record for recorder in recorders))
        yield Bench(client, requests, recorders)
        await requests.close()


async def read_text(log: RequestLog) -> str:
    """What a log says, to its end."""
    deltas: list[Delta] = []
    with log.read() as reader:
        while (batch := await reader.take()) is not None:
            deltas += batch.deltas
    return said(deltas)[0].text


async def test_end_is_recorded_once_by_each_observer() -> None:
    """A request that ends well is finished: for its observers, its owner and its readers."""
    engine = ScriptedEngine()
    engine.allow(3)
    async with bench_on(engine) as bench:
        running = bench.start()
        assert running.outcome is None
        assert await read_text(running.log) == "0 1 2 "
        assert isinstance(running.outcome, CallFinished)
        assert running.outcome == running.log.finished
        running.cancel(CallAborted())
        await bench.requests.wait_idle()
        bench.assert_recorded(running.outcome)


async def test_request_goes_on_while_nobody_reads_it() -> None:
    """A request needs no reader: what it said is read afterwards, from the start."""
    engine = ScriptedEngine()
    engine.allow(3)
    async with bench_on(engine) as bench:
        running = bench.start()
        await bench.requests.wait_idle()
        assert isinstance(running.outcome, CallFinished)
        assert await read_text(running.log) == "0 1 2 "


async def test_reader_that_leaves_ends_nothing() -> None:
    """A reader leaves in the middle, and another one takes up the answer behind it."""
    engine = ScriptedEngine()
    engine.allow(1)
    async with bench_on(engine) as bench:
        running = bench.start()
        with running.log.read() as reader:
            while not running.log.position:
                await reader.take()
        engine.allow(2)
        await bench.requests.wait_idle()
        with running.log.read(after=reader.position) as reader:
            batch = await reader.take()
        assert batch is not None
        assert said(batch.deltas)[0].text == "1 2 "


async def test_whoever_reads_is_waited_for() -> None:
    """All is idle once nothing runs and nobody reads to a caller any more."""
    engine = ScriptedEngine()
    engine.allow(3)
    async with bench_on(engine) as bench:
        running = bench.start()
        with bench.requests.read(running.log) as reader:
            await running.task
            idle = asyncio.create_task(bench.requests.wait_idle())
            await check(bench.client, "liveness")  # more turns of the loop than `idle` needs
            assert not idle.done()
            assert await reader.take() is not None
        await idle


@pytest.mark.parametrize(
    "outcome", [CallAborted(), CallFailed(DEADLINE_EXCEEDED), CallFailed("ANY", "why")]
)
async def test_whoever_cancels_says_how_it_ended(outcome: CallOutcome) -> None:
    """The engine lets go of a cancelled request, and its end is what was said first."""
    engine = ScriptedEngine()
    async with bench_on(engine) as bench:
        running = bench.start()
        await engine.wait_until(running=1)
        running.cancel(outcome)
        running.cancel(CallFailed("LATER"))
        await bench.requests.wait_idle()
        assert (engine.num_running, engine.num_aborted) == (0, 1)
        assert running.outcome == outcome
        bench.assert_recorded(outcome)


async def test_drain_ends_what_runs() -> None:
    """Every request that runs ends with DRAINING, for its readers as well, and none is started."""
    engine = ScriptedEngine()
    async with bench_on(engine) as bench:
        running = [bench.start(), bench.start()]
        await engine.wait_until(running=2)
        bench.requests.refuse_new()
        with pytest.raises(Draining):
            bench.start()
        bench.requests.end_all()
        for each in running:
            with pytest.raises(Draining):
                await read_text(each.log)
        await bench.requests.wait_idle()
        bench.assert_recorded(*[CallFailed("DRAINING")] * 2)


async def test_refusal_has_its_reason() -> None:
    """A request that is refused ends with the reason that its reader hears."""
    async with bench_on(ScriptedEngine()) as bench:
        running = bench.start(model="nope")
        with pytest.raises(InferenceError) as refused:
            await read_text(running.log)
        assert refused.value.reason == "UNSUPPORTED_MODEL"
        bench.assert_recorded(CallFailed("UNSUPPORTED_MODEL"))


async def test_failure_keeps_its_detail_for_the_log() -> None:
    """What the engine said goes to the observers."""
    engine = ScriptedEngine()
    engine.failure = GenerationFailed("it failed", detail="why")
    engine.allow(1)
    async with bench_on(engine) as bench:
        bench.start()
        await bench.requests.wait_idle()
        bench.assert_recorded(CallFailed("GENERATION_FAILED", "why"))


def steps_of(bench: Bench, *outcomes: CallOutcome | None) -> list[str]:
    """The steps that the one request of a test came to, in the order of their times."""
    bench.assert_recorded(*outcomes)
    (ended,) = bench.recorders[0].ended
    times = {
        name: getattr(ended.timeline, name)
        for name in Timeline.__dataclass_fields__
        if getattr(ended.timeline, name) is not None
    }
    assert ended.duration_s == times["ended_s"] - times["arrived_s"]
    return [name.removesuffix("_s") for name in sorted(times, key=lambda name: times[name])]


RENDERED = ["arrived", "render_began", "rendered"]


async def test_timeline_of_a_request_that_ends_well() -> None:
    """An observer gets the time of every step, and what the request came to."""
    engine = ScriptedEngine()
    engine.allow(3)
    async with bench_on(engine) as bench:
        running = bench.start()
        await bench.requests.wait_idle()
        tokens = ["first_token", "last_token"]
        steps = steps_of(bench, running.outcome)
        assert steps == [*RENDERED, "queued", "admitted", *tokens, "ended"]
        (ended,) = bench.recorders[0].ended
        assert ended.started == running.log.started
        assert (ended.num_prompt_tokens, ended.num_completion_tokens) == (1, 3)


async def test_timeline_of_a_request_that_loses_its_engine() -> None:
    """The steps before a failure are there, and the tokens that came until then."""
    engine = ScriptedEngine()
    engine.allow(2)
    async with bench_on(engine) as bench:
        running = bench.start()
        with running.log.read() as reader:
            while running.log.position < 2:
                await reader.take()
        engine.die()
        await bench.requests.wait_idle()
        steps = steps_of(bench, CallFailed("ENGINE_LOST"))
        assert steps == [*RENDERED, "queued", "admitted", "first_token", "last_token", "ended"]
        assert bench.recorders[0].ended[0].num_completion_tokens == 2


async def test_timeline_of_a_request_that_leaves_the_queue() -> None:
    """A wait that was given up has a begin and no end, behind a prompt that was rendered."""
    engine = ScriptedEngine(max_running=1)
    async with bench_on(engine) as bench:
        async with bench.client.app.models.route(bench.client.model).model.admission.slot(
            Ticket(max_wait_s=0)
        ):
            running = bench.start()
            with running.log.read() as reader:
                batch = await reader.take()
            assert batch is not None
            assert isinstance(batch.progress, Queued)
            running.cancel(CallAborted())
            await bench.requests.wait_idle()
        assert steps_of(bench, CallAborted()) == [*RENDERED, "queued", "ended"]
        (ended,) = bench.recorders[0].ended
        assert (ended.num_prompt_tokens, ended.started) == (1, None)


async def test_timeline_of_a_request_that_stays_unrendered() -> None:
    """A prompt that is being rendered at the end has a begin of that and no end."""
    engine = ScriptedEngine()
    engine.renders.clear()
    async with bench_on(engine) as bench:
        running = bench.start()
        await engine.wait_until_rendering(1)
        running.cancel(CallAborted())
        await bench.requests.wait_idle()
        assert steps_of(bench, CallAborted()) == ["arrived", "render_began", "ended"]
        assert bench.recorders[0].ended[0].num_prompt_tokens is None


async def test_timeline_of_a_request_that_is_refused() -> None:
    """A request for a model that does not exist has come to nothing but its end."""
    async with bench_on(ScriptedEngine()) as bench:
        bench.start(model="nope")
        await bench.requests.wait_idle()
        assert steps_of(bench, CallFailed("UNSUPPORTED_MODEL")) == ["arrived", "ended"]


async def test_timeline_of_a_request_that_loads_its_model() -> None:
    """A model that is not loaded is waited for first; then it renders."""
    engine = ScriptedEngine()
    engine.allow(3)
    launcher = ScriptedLauncher(engine)
    async with start_front(launcher.prepare, wait=False, LLM_LAZY_LOAD="true") as client:
        await wait_for_state(client.app, State.UNLOADED)
        recorder = Recorder()
        inference = Inference(
            client.app.models, DEFAULTS, queue_timeout_s=30, constraints=ConstraintChecker()
        )
        requests = RunningRequests(inference, recorder.record)
        requests.start(decode_generate(client.prompt("go"), CONTEXT))
        await requests.wait_idle()
        bench = Bench(client, requests, (recorder, recorder))
        (outcome,) = recorder.outcomes
        assert isinstance(outcome, CallFinished)
        steps = steps_of(bench, outcome)
        assert steps[:5] == ["arrived", "queued", "admitted", "render_began", "rendered"]
        (ended,) = recorder.ended
        assert ended.timeline.prefill_began_s == ended.timeline.rendered_s


async def test_lost_engine_ends_its_requests() -> None:
    """An engine that dies ends its requests with ENGINE_LOST, behind what they said before."""
    engine = ScriptedEngine()
    engine.allow(1)
    async with bench_on(engine) as bench:
        running = bench.start()
        with running.log.read() as reader:
            while not running.log.position:
                await reader.take()
            engine.die()
            with pytest.raises(EngineLost):
                await reader.take()
        bench.assert_recorded(CallFailed("ENGINE_LOST"))


@pytest.mark.parametrize("failure", [ValueError("canary"), asyncio.CancelledError("canary")])
async def test_bug_is_internal(failure: BaseException) -> None:
    """A bug, or a cancellation that nobody asked for, is INTERNAL, and logged once in full."""
    engine = ScriptedEngine()
    engine.failure = failure
    engine.allow(1)
    async with bench_on(engine) as bench:
        with capture_logs() as lines:
            running = bench.start()
            with pytest.raises(RequestBroke) as broke:
                await read_text(running.log)
            await bench.requests.wait_idle()
        assert "canary" not in str(broke.value)
        bench.assert_recorded(CallFailed(INTERNAL))
        (line,) = [line for line in lines if line["event"] == "call_failed"]
        assert line["exc_info"]


async def test_observer_that_raises_hurts_nobody() -> None:
    """A bug in one observer is logged; the request, its readers and the others go on."""
    engine = ScriptedEngine()
    engine.allow(3)

    def fail(*_: object) -> None:
        raise ValueError("a bug")

    async with bench_on(engine) as bench:
        first, last = bench.recorders
        inference = Inference(
            bench.client.app.models, DEFAULTS, queue_timeout_s=30, constraints=ConstraintChecker()
        )
        requests = RunningRequests(inference, first.record, fail, last.record)
        with capture_logs() as lines:
            running = requests.start(decode_generate(bench.client.prompt("go"), CONTEXT))
            assert await read_text(running.log) == "0 1 2 "
            await requests.wait_idle()
        bench.assert_recorded(running.outcome)
        (line,) = [line for line in lines if line["event"] == "observer_failed"]
        assert line["exc_info"]


class ReluctantEngine(ScriptedEngine):
    """Lets go of a request when a test allows it."""

    def __init__(self) -> None:
        super().__init__()
        self.was_asked = asyncio.Event()
        self.may_let_go = asyncio.Event()

    async def generate(self, request: EngineRequest) -> AsyncGenerator[EngineEvent]:
        try:
            async with aclosing(super().generate(request)) as events:
                async for event in events:
                    yield event
        finally:
            self.was_asked.set()
            await self.may_let_go.wait()


async def test_closing_waits_for_the_engine() -> None:
    """Whoever closes all requests goes on once the engine has let go of them, and not before."""
    engine = ReluctantEngine()
    async with bench_on(engine) as bench:
        bench.start()
        await engine.wait_until(running=1)
        closing = asyncio.create_task(bench.requests.close())
        await engine.was_asked.wait()
        assert not closing.done()
        engine.may_let_go.set()
        await closing
        bench.assert_recorded(CallFailed("DRAINING"))
        with pytest.raises(Draining):
            bench.start()


@pytest.mark.parametrize("has_begun", [False, True])
async def test_request_cancelled_before_its_first_event_tells_nothing(has_begun: bool) -> None:
    """Cancelled at once or while it waits, a request says nothing; its end is told as any other."""
    engine = ScriptedEngine()
    engine.renders.clear()
    async with bench_on(engine) as bench:
        running = bench.start()
        if has_begun:
            await engine.wait_until_rendering(1)
        running.cancel(CallAborted(), Draining("the reader hears this"))
        with running.log.read() as reader, pytest.raises(Draining):
            await reader.take()
        await bench.requests.wait_idle()
        assert engine.requests == []
        assert running.outcome == CallAborted()
        bench.assert_recorded(CallAborted())


async def test_calls_that_generate_nothing_are_waited_for() -> None:
    """A drain waits for each of them: the end of one is not the end of all."""
    async with bench_on(ScriptedEngine()) as bench:
        with bench.requests.short():
            with bench.requests.short():
                pass
            waiting = asyncio.ensure_future(bench.requests.wait_idle())
            await asyncio.sleep(0)  # the turn in which it would return
            assert not waiting.done()
        await waiting
        bench.requests.refuse_new()
        with pytest.raises(Draining), bench.requests.short():
            pass
