"""Who sends when, until when; and that the numbers are those that the engine counted itself."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tokenwire.edge.app import EdgeApp
from tokenwire.load.faces.exchange import Exchange
from tokenwire.load.faces.face import Face, LoadRequest, RequestFailed, Sending, Task
from tokenwire.load.faces.grpc_face import open_grpc_face
from tokenwire.load.faces.openai_face import open_openai_face
from tokenwire.load.faces.rest_face import open_rest_face
from tokenwire.load.measurement import Measurement
from tokenwire.load.pace import Arrivals, Closed, Extent, Load, Open
from tokenwire.load.report.result import LoadForm, Target, WorkloadForm
from tokenwire.load.report.summary import Setting, summarise

from ..edge.conftest import edge_config
from ..server.fronts import start_front
from ..server.scripted_engine import MODEL_ID, ScriptedLauncher
from .counting_engine import CountingEngine

SETTING = Setting(
    "", "now", "1", Target("f", "a", "m", "chat"), LoadForm("closed", 1), WorkloadForm()
)


def requests(max_tokens: int = 3) -> Iterator[LoadRequest]:
    return (LoadRequest(f"word {number}", max_tokens, 2) for number in itertools.count())


class StubFace:
    """Answers when a test allows it."""

    name = address = "stub"

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.entered = asyncio.Condition()
        self.num_running = self.most_running = self.num_sent = 0
        self.failure: RequestFailed | None = None
        self.after: Callable[[], None] = lambda: None

    async def find_model(self) -> str:
        return "m"

    async def count_prompt(self, sending: Sending, prompt: str) -> int | None:  # noqa: ARG002
        return None

    async def send(self, sending: Sending, request: LoadRequest, exchange: Exchange) -> None:  # noqa: ARG002
        self.num_running += 1
        self.num_sent += 1
        self.most_running = max(self.most_running, self.num_running)
        try:
            async with self.entered:
                self.entered.notify_all()
            await self.gate.wait()
            exchange.note_output()
        finally:
            self.num_running -= 1
            self.after()
        if self.failure is not None:
            raise self.failure

    async def wait_until_sent(self, num_requests: int) -> None:
        async with asyncio.timeout(45), self.entered:
            await self.entered.wait_for(lambda: self.num_sent >= num_requests)


def measuring(face: Face, load: Load, extent: Extent, **options: Any) -> Measurement:
    return Measurement(face, Sending("m"), requests(), load=load, extent=extent, **options)


async def test_closed_load_keeps_its_callers() -> None:
    """So many are in flight and never more, until as many were sent as asked for."""
    face = StubFace()
    measurement = measuring(face, Closed(3), Extent(8))
    running = asyncio.create_task(measurement.run())
    await face.wait_until_sent(3)
    assert measurement.progress.num_in_flight == 3
    face.gate.set()
    measured = await running
    assert (face.num_sent, face.most_running, len(measured.exchanges)) == (8, 3, 8)
    assert not measured.is_partial


async def test_open_load_counts_from_the_schedule() -> None:
    """Requests are sent though none is answered, and each is due when the schedule says."""
    face = StubFace()
    load = Open(1000, Arrivals.CONSTANT)
    measurement = measuring(face, load, Extent(20))
    running = asyncio.create_task(measurement.run())
    await face.wait_until_sent(20)
    assert face.most_running == 20
    face.gate.set()
    measured = await running
    due_s = sorted(exchange.intended_s - measured.begun_s for _, exchange in measured.exchanges)
    assert due_s == pytest.approx([number / 1000 for number in range(20)])
    assert all(exchange.sent_s >= exchange.intended_s for _, exchange in measured.exchanges)


async def test_client_that_falls_behind_hides_nothing() -> None:
    """Where the clock is far ahead, all that was due is sent, each with its own due time."""
    face = StubFace()
    face.gate.set()
    now = itertools.count(0, 1.0)  # a second passes at every look
    measurement = measuring(face, Open(10, Arrivals.CONSTANT), Extent(5), clock=lambda: next(now))
    measured = await measurement.run()
    exchanges = [exchange for _, exchange in measured.exchanges]
    gaps = [b.intended_s - a.intended_s for a, b in itertools.pairwise(exchanges)]
    assert gaps == pytest.approx([0.1] * 4)
    assert all(exchange.ttft_s > 1 for exchange in exchanges if exchange.ttft_s)


def test_arrivals_repeat_by_seed() -> None:
    """Poisson arrivals come at the rate on average, and the same for the same seed."""
    waits = Open(50, seed=3).waits_s()
    drawn = [waits.next_s() for _ in range(4000)]
    again = Open(50, seed=3).waits_s()
    assert drawn == [again.next_s() for _ in range(4000)]
    mean = sum(drawn) / len(drawn)
    assert mean == pytest.approx(1 / 50, rel=0.05)
    deviation = (sum((wait - mean) ** 2 for wait in drawn) / len(drawn)) ** 0.5
    assert deviation == pytest.approx(mean, rel=0.1)  # as of an exponential distribution


async def test_duration_ends_the_sending() -> None:
    """Behind the duration nothing more is sent; what is in flight is awaited."""
    face = StubFace()
    now_s = [0.0]
    face.gate.set()

    def pass_time() -> None:
        now_s[0] += 1.0

    face.after = pass_time
    measured = await measuring(face, Closed(1), Extent(None, 3.5), clock=lambda: now_s[0]).run()
    assert len(measured.exchanges) == 4


async def test_stop_gives_up_what_is_in_flight() -> None:
    """What was whole by then is a partial result; the rest counts as interrupted."""
    face = StubFace()
    measurement = measuring(face, Closed(2), Extent(100))
    face.gate.set()
    face.after = lambda: face.gate.clear() if face.num_sent >= 5 else None
    running = asyncio.create_task(measurement.run())
    await face.wait_until_sent(6)
    measurement.stop()
    measured = await running
    run = summarise(SETTING, measured)
    assert run.is_partial
    assert run.requests.whole + run.requests.interrupted == face.num_sent
    assert run.requests.interrupted >= 1
    assert run.tokens.output == run.requests.whole


async def test_failures_are_kept_by_kind() -> None:
    """A failure is counted with the first words of its kind, and no token of it."""
    face = StubFace()
    face.gate.set()
    face.failure = RequestFailed("HTTP 503", "full")
    run = summarise(SETTING, await measuring(face, Closed(2), Extent(3)).run())
    assert [(error.kind, error.count, error.example) for error in run.errors] == [
        ("HTTP 503", 3, "full")
    ]
    assert (run.requests.whole, run.requests.failed, run.tokens.output) == (0, 3, 0)
    assert run.ttft_s is None


async def test_what_nobody_foresaw_ends_it() -> None:
    """An exception that is no failure of a request is not counted away."""
    face = StubFace()
    face.gate.set()
    face.failure = RequestFailed("x", "y")

    def burst() -> None:
        raise ZeroDivisionError

    face.after = burst
    with pytest.raises(ExceptionGroup):
        await measuring(face, Closed(1), Extent(3)).run()


@asynccontextmanager
async def door(name: str, port: int) -> AsyncGenerator[Face]:
    if name == "grpc":
        async with open_grpc_face(f"127.0.0.1:{port}") as face:
            yield face
        return
    open_face = open_rest_face if name == "rest" else open_openai_face
    async with (
        EdgeApp(edge_config(LLM_GRPC_TARGET=f"127.0.0.1:{port}")) as edge,
        open_face(f"http://127.0.0.1:{edge.port}") as face,
    ):
        yield face


@pytest.mark.parametrize("name", ["grpc", "rest", "openai"])
async def test_agrees_with_the_engine(name: str) -> None:
    """Tokens equal those that the engine counted; the rates are within 3 % of its own."""
    engine = CountingEngine(max_running=8)
    sending = Sending(MODEL_ID, Task.COMPLETION, ignores_eos=name != "rest")
    async with (
        start_front(ScriptedLauncher(engine).prepare, LLM_MAX_CONCURRENT_REQUESTS="8") as client,
        door(name, client.app.port) as face,
    ):
        measurement = Measurement(
            face, sending, requests(25), load=Closed(4), extent=Extent(20), clock=engine.clock
        )
        run = summarise(SETTING, await measurement.run())
    assert (run.requests.whole, run.requests.failed) == (engine.num_requests, 0)
    assert run.tokens.output == engine.num_output_tokens == 500
    if name != "rest":  # that door does not say
        assert run.tokens.input == engine.num_prompt_tokens
        assert run.throughput.input_tokens_per_s == pytest.approx(
            engine.num_prompt_tokens / engine.now_s, rel=0.03
        )
    assert sum(run.timeline.output_tokens) == pytest.approx(500)
    assert run.throughput.output_tokens_per_s == pytest.approx(
        engine.num_output_tokens / engine.now_s, rel=0.03
    )
    assert run.throughput.requests_per_s == pytest.approx(20 / engine.now_s, rel=0.03)
