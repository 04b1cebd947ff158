"""Streams that go on when their engine dies, over real sockets, on engines that a test steps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from tokenwire.generated.tokenwire.v1 import events_pb2
from tokenwire.server.contract.engine import EngineRequest
from tokenwire.server.contract.errors import ModelLoadFailed
from tokenwire.server.contract.events import (
    ChoiceFinished,
    EngineEvent,
    Finished,
    FinishReason,
    ReasoningDelta,
    Started,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
)
from tokenwire.server.models.model_state import State

from ...fronts import (
    GENERATE,
    Client,
    collect,
    failure_of,
    scrape,
    start_front,
    wait_for_state,
    wait_until,
)
from ...scripted_engine import ScriptedEngine, ScriptedLauncher

HANG_S = 60


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restarts come at once: the pauses between them are tested elsewhere."""
    monkeypatch.setattr("tokenwire.server.models.engine_keeper._RESTART_DELAYS_S", (0.0,) * 8)


def engines(num_engines: int, **options: Any) -> list[ScriptedEngine]:
    return [ScriptedEngine(**options) for _ in range(num_engines)]


async def read_until(call: Any, kind: str) -> list[Any]:
    """Reads a stream up to its first event of a kind."""
    read: list[Any] = []
    async with asyncio.timeout(HANG_S):
        while not read or read[-1].WhichOneof("event") != kind:
            event = await call.read()
            assert event is not grpc.aio.EOF
            read.append(event)
    return read


async def read_deltas(call: Any, count: int) -> list[Any]:
    """Reads a stream until so many of the engine's deltas came, or to its end.

    A reader that lags gets several in one message.
    """
    read: list[Any] = []
    async with asyncio.timeout(HANG_S):
        while not read or read[-1].position < count:
            event = await call.read()
            if event is grpc.aio.EOF:
                break
            read.append(event)
    return read


def text_of(events: Sequence[Any]) -> str:
    return "".join(delta.text.text for event in events for delta in event.deltas.deltas)


def ask(client: Client, max_tokens: int, **fields: Any) -> Any:
    request = client.prompt("go", **fields)
    request.sampling.max_tokens = max_tokens
    return request


async def test_stream_goes_on() -> None:
    """Nothing is lost, repeated or counted twice; progress tells of the pause and of its end."""
    first, second = engines(2)
    async with start_front(ScriptedLauncher(first, second).prepare) as client:
        first.allow(2)
        call = client.inference.Generate(ask(client, 5, progress=True))
        events = await read_deltas(call, 2)
        first.die()
        events += await read_until(call, "progress")
        assert events[-1].progress.restarting.num_engines_lost == 1
        second.allow(3)
        events += await read_until(call, "progress")
        assert events[-1].progress.HasField("decode")
        rest = await collect(call)
        assert text_of(events) + rest.text == "0 1 2 3 4 "
        assert rest.finished.usage.num_completion_tokens == 5
        assert rest.positions[-1] == 6  # five deltas and the end, as undisturbed
        assert list(second.requests[0].earlier_of(0).token_ids) == [0, 1]
        assert second.requests[0].request_id != first.requests[0].request_id
        lines = await scrape(client)
    for line in (
        'llm_requests_continued_total{model="test/scripted"} 1.0',
        'llm_continuations_failed_total{model="test/scripted"} 0.0',
        'llm_continuation_pause_seconds_count{model="test/scripted"} 1.0',
    ):
        assert line in lines


async def test_final_answer_goes_on() -> None:
    """An answer that is sent as one message is whole, too."""
    first, second = engines(2)
    async with start_front(ScriptedLauncher(first, second).prepare) as client:
        first.allow(2)
        second.allow(100)
        answering = asyncio.ensure_future(
            client.unary(GENERATE)(ask(client, 5, delivery=events_pb2.DELIVERY_FINAL))
        )
        await first.wait_until(running=1)
        first.die()
        answer = (await answering).finished
    assert answer.choices[0].text == "0 1 2 3 4 "
    assert answer.usage.num_completion_tokens == 5


async def test_request_in_prefill_begins_anew() -> None:
    """One that was told nothing is simply asked of the next engine."""
    first, second = engines(2)
    async with start_front(ScriptedLauncher(first, second).prepare) as client:
        call = client.inference.Generate(ask(client, 2))
        await first.wait_until(running=1)
        second.allow(2)
        first.die()
        answer = await collect(call)
    assert answer.text == "0 1 "
    assert answer.events[0] == "started"
    assert answer.events.count("started") == 1


async def test_prompt_is_rendered_by_the_next_engine() -> None:
    """An engine that dies while it reads a prompt is followed by one that reads it."""
    first, second = engines(2)
    first.renders.clear()
    async with start_front(ScriptedLauncher(first, second).prepare) as client:
        call = client.inference.Generate(ask(client, 1))
        await first.wait_until_rendering(1)
        second.allow(1)
        first.die()
        assert (await collect(call)).text == "0 "


def answer_with(*deltas: Any, num_tokens: int) -> list[EngineEvent]:
    return [Started(0), *deltas, Finished(num_tokens, 0)]


@pytest.mark.parametrize("num_told", range(1, 5))
async def test_choices_logprobs_and_stop_strings(num_told: int) -> None:
    """Wherever the engine dies, each choice is whole, with each log-probability once."""

    def token(choice: int, token_id: int, text: str) -> TextDelta:
        logprob = TokenLogprob(token_id, -0.5, text.encode())
        return TextDelta(text, 1, (token_id,), (logprob,), choice)

    script = answer_with(
        token(0, 1, "so "),
        token(1, 2, "go S"),
        token(0, 3, "ST"),
        token(1, 4, "TOP never"),
        token(0, 5, "ART"),
        ChoiceFinished(FinishReason.EOS, choice=0),
        ChoiceFinished(FinishReason.EOS, choice=1),
        num_tokens=7,
    )

    async def ask_for(*given: ScriptedEngine) -> tuple[list[Any], Any]:
        async with start_front(ScriptedLauncher(*given).prepare) as client:
            request = client.prompt("go")
            request.sampling.n = 2
            request.sampling.logprobs = 0
            request.sampling.stop.append("STOP")
            given[0].allow(num_told if len(given) > 1 else 100)
            call = client.inference.Generate(request)
            events: list[Any] = []
            if len(given) > 1:
                events = await read_deltas(call, {1: 1, 2: 2, 3: 2, 4: 3}[num_told])
                given[1].allow(100)
                given[0].die()
            events += await read_deltas(call, 100)
            deltas = [delta for event in events for delta in event.deltas.deltas]
            texts = ["".join(each.text.text for each in deltas if each.choice == c) for c in (0, 1)]
            ids = [
                [
                    each.token_id
                    for delta in deltas
                    if delta.choice == c
                    for each in delta.text.logprobs
                ]
                for c in (0, 1)
            ]
            ends = [d.finished for d in deltas if d.WhichOneof("kind") == "finished"]
            return [texts, ids, sorted(end.stop for end in ends)], events[-1].finished.usage

    options: dict[str, Any] = {"script": script, "max_running": 2}
    undisturbed, _ = await ask_for(ScriptedEngine(**options))
    continued, _ = await ask_for(ScriptedEngine(**options), ScriptedEngine(**options))
    assert continued == undisturbed
    assert undisturbed[0] == ["so START", "go "]


@pytest.mark.parametrize("num_told", range(1, 6))
async def test_thinking_and_calls(num_told: int) -> None:
    """A death between any two pieces of thinking, text and calls leaves no trace in them."""
    script = answer_with(
        ReasoningDelta("I think ", 1, (1,)),
        ReasoningDelta("so.", 1, (2,)),
        TextDelta("Look:", 1, (3,)),
        ToolCallDelta(0, "call-0", "weather", "", 1, 0, (4,)),
        ToolCallDelta(0, "", "", '{"city":"Paris"}'),
        ToolCallDelta(1, "call-1", "time", "{}", 1, 0, (5,)),
        ChoiceFinished(FinishReason.TOOL_CALLS),
        num_tokens=6,
    )
    first, second = engines(2, script=script)
    async with start_front(ScriptedLauncher(first, second).prepare) as client:
        first.allow(num_told)
        call = client.inference.Chat(client.chat("go"))
        events = await read_deltas(call, num_told)
        second.allow(100)
        first.die()
        rest = await read_deltas(call, 100)
        deltas = [delta for event in (*events, *rest) for delta in event.deltas.deltas]
    assert events[0].WhichOneof("event") == "started"
    assert "".join(delta.reasoning.text for delta in deltas) == "I think so."
    assert "".join(delta.text.text for delta in deltas) == "Look:"
    calls = [delta.tool_call for delta in deltas if delta.WhichOneof("kind") == "tool_call"]
    assert [(each.id, each.name) for each in calls if each.id] == [
        ("call-0", "weather"),
        ("call-1", "time"),
    ]
    assert "".join(each.arguments for each in calls) == '{"city":"Paris"}{}'
    usage = rest[-1].finished.usage
    assert (usage.num_completion_tokens, usage.num_reasoning_tokens) == (6, 2)


async def test_two_deaths_of_an_answer_that_goes_well_between() -> None:
    """A request that is told enough between two deaths goes on behind both."""
    first, second, third = engines(3)
    async with start_front(ScriptedLauncher(first, second, third).prepare) as client:
        first.allow(2)
        call = client.inference.Generate(ask(client, 9))
        events = await read_deltas(call, 2)
        second.allow(4)
        first.die()
        events += await read_deltas(call, 6)
        third.allow(9)
        second.die()
        rest = await collect(call)
    assert text_of(events) + rest.text == "0 1 2 3 4 5 6 7 8 "
    assert rest.finished.usage.num_completion_tokens == 9


async def test_present_at_both_deaths() -> None:
    """A request alone at two deaths in a row, with no progress between, is not tried again."""
    first, second, third = engines(3)
    async with start_front(ScriptedLauncher(first, second, third).prepare) as client:
        first.allow(2)
        call = client.inference.Generate(ask(client, 9))
        await read_deltas(call, 2)
        first.die()
        await second.wait_until(running=1)
        second.die()
        failure = await failure_of(call)
        assert failure.code is grpc.StatusCode.INTERNAL
        assert failure.reason == "GENERATION_FAILED"
        assert "present at both deaths" in failure.message
        assert failure.metadata["num_engine_deaths"] == "2"
        await wait_until(client.app.models, lambda: client.app.models.is_ready)
        assert third.requests == []
        assert 'llm_continuations_failed_total{model="test/scripted"} 1.0' in await scrape(client)


class PoisonedEngine(ScriptedEngine):
    """Dies at a prompt of two words, as soon as it is to be computed."""

    async def generate(self, request: EngineRequest) -> AsyncGenerator[EngineEvent]:
        if len(request.prompt.token_ids) == 2:
            self.die("the poison")
        async with aclosing(super().generate(request)) as events:
            async for event in events:
                yield event


async def test_poison_among_fifty_good_streams() -> None:
    """The fifty finish, whole; the poison is failed, and named as present at both deaths."""
    given = [PoisonedEngine(max_running=64) for _ in range(6)]
    async with start_front(
        ScriptedLauncher(*given).prepare, LLM_MAX_CONCURRENT_REQUESTS="64"
    ) as client:
        calls = [client.inference.Generate(ask(client, 12)) for _ in range(50)]
        await given[0].wait_until(running=50)
        given[0].allow(200)
        for engine in given[1:]:
            engine.allow(5000)
        request = ask(client, 12)
        request.text = "two words"
        doomed = client.inference.Generate(request)
        async with asyncio.timeout(HANG_S):
            failure = await failure_of(doomed)
            answers = await asyncio.gather(*map(collect, calls))
        assert failure.reason == "GENERATION_FAILED"
        assert "present at both deaths" in failure.message
        whole = "".join(f"{number} " for number in range(12))
        assert [answer.text for answer in answers] == [whole] * 50
        assert {answer.finished.usage.num_completion_tokens for answer in answers} == {12}
        model = next(iter(client.app.models))
        assert model.keeper.num_restarts <= 3
        assert model.admission.num_in_flight == 0
        assert model.readmission.num_waiting == 0


async def test_no_engine_comes_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the model is given up, the stream ends with ENGINE_LOST."""
    monkeypatch.setattr("tokenwire.server.models.engine_keeper._RESTART_DELAYS_S", (0.0,))
    first = ScriptedEngine()
    launcher = ScriptedLauncher(first, ModelLoadFailed("it cannot be loaded again"))
    async with start_front(launcher.prepare) as client:
        first.allow(1)
        call = client.inference.Generate(ask(client, 3))
        await read_until(call, "deltas")
        first.die()
        failure = await failure_of(call)
        assert failure.reason == "ENGINE_LOST"
        assert "could not be restarted" in failure.message
        await wait_for_state(client.app, State.FAILED)


async def test_wait_for_the_next_engine_is_bounded() -> None:
    """After LLM_CONTINUATION_TIMEOUT_S the stream ends with ENGINE_LOST and the limit."""
    first = ScriptedEngine()
    launcher = ScriptedLauncher(first)
    async with start_front(launcher.prepare, LLM_CONTINUATION_TIMEOUT_S="0.05") as client:
        first.allow(1)
        call = client.inference.Generate(ask(client, 3))
        await read_until(call, "deltas")
        first.die()
        failure = await failure_of(call)
    assert failure.reason == "ENGINE_LOST"
    assert "within 0.05 s" in failure.message


async def test_time_limit_ends_a_waiting_request() -> None:
    """The request's own time limit goes on during the pause, and ends it as it always does.

    Takes its two seconds, in which the first token has come also on a busy machine.
    """
    first = ScriptedEngine()
    async with start_front(ScriptedLauncher(first).prepare) as client:
        first.allow(1)
        request = ask(client, 3, time_limit=Duration(seconds=2))
        call = client.inference.Generate(request)
        await read_until(call, "deltas")
        first.die()
        answer = await collect(call)
    assert answer.choice_finished.finish_reason == events_pb2.FINISH_REASON_TIME_LIMIT
    assert answer.finished.usage.num_completion_tokens == 1


async def test_client_leaves_while_its_request_waits() -> None:
    """The slot comes back, and the next engine is never asked."""
    first, second = engines(2)
    launcher = ScriptedLauncher(first, second)
    async with start_front(launcher.prepare) as client:
        model = next(iter(client.app.models))
        first.allow(1)
        call = client.inference.Generate(ask(client, 3, progress=True))
        await read_until(call, "deltas")
        launcher.gate.clear()
        first.die()
        await read_until(call, "progress")
        assert model.admission.num_in_flight == 1
        call.cancel()
        async with asyncio.timeout(HANG_S):
            while model.admission.num_in_flight:  # noqa: ASYNC110 - nothing tells it
                await asyncio.sleep(0.01)
        launcher.gate.set()
        await wait_for_state(client.app, State.SERVING)
        assert second.requests == []
        assert model.readmission.num_waiting == 0


async def test_drain_ends_a_waiting_request() -> None:
    """A request that waits for its engine is waited for, and ended with DRAINING at the end."""
    first = ScriptedEngine()
    async with start_front(ScriptedLauncher(first).prepare, LLM_DRAIN_TIMEOUT_S="0.1") as client:
        first.allow(1)
        call = client.inference.Generate(ask(client, 3, progress=True))
        await read_until(call, "deltas")
        first.die()
        await read_until(call, "progress")
        async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as tasks:
            tasks.create_task(client.app.drain())
            failure = await failure_of(call)
    assert failure.reason == "DRAINING"


async def test_setting_turns_it_off() -> None:
    """Without LLM_CRASH_CONTINUATION the stream ends with ENGINE_LOST, and no engine is asked."""
    first, second = engines(2)
    async with start_front(
        ScriptedLauncher(first, second).prepare, LLM_CRASH_CONTINUATION="false"
    ) as client:
        first.allow(1)
        call = client.inference.Generate(ask(client, 3))
        await read_until(call, "deltas")
        first.die()
        assert (await failure_of(call)).reason == "ENGINE_LOST"
        await wait_for_state(client.app, State.SERVING)
        assert second.requests == []


async def test_other_answer_of_the_next_engine() -> None:
    """An engine that does not come to what was told is not believed: ENGINE_LOST."""
    first = ScriptedEngine(script=answer_with(TextDelta("one", 1), TextDelta("b", 1), num_tokens=2))
    second = ScriptedEngine(script=answer_with(TextDelta("two", 1), num_tokens=1))
    async with start_front(ScriptedLauncher(first, second).prepare) as client:
        first.allow(1)
        second.allow(9)
        call = client.inference.Generate(ask(client, 3))
        await read_until(call, "deltas")
        first.die()
        failure = await failure_of(call)
    assert failure.reason == "ENGINE_LOST"
    assert "another beginning" in failure.message
