"""One request's life on an engine that a test steps by hand, over a real socket."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from tokenwire.generated.tokenwire.v1 import events_pb2, sampling_pb2
from tokenwire.server.constraints.checker import ConstraintChecker
from tokenwire.server.constraints.task import Fit
from tokenwire.server.contract.events import (
    ChoiceFinished,
    Finished,
    FinishReason,
    Started,
    TextDelta,
)
from tokenwire.server.contract.prompts import TextPrompt

from ..fronts import (
    CHAT,
    GENERATE,
    collect,
    failure_of,
    start_front,
)
from ..scripted_engine import ScriptedEngine, ScriptedLauncher


async def test_prompt_over_the_context_tells_both_numbers() -> None:
    """A prompt that leaves no room for a token is refused with limit and actual."""
    async with start_front(ScriptedLauncher(ScriptedEngine(context_length=8)).prepare) as client:
        failure = await failure_of(client.inference.Chat(client.chat("word " * 8)))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.reason == "CONTEXT_TOO_LONG"
    assert failure.metadata == {"limit": "8", "actual": "8"}
    assert failure.fields == ["messages"]


async def test_max_tokens_is_cut_to_the_context() -> None:
    """An answer is cut to what the context has left, and ends with LENGTH."""
    engine = ScriptedEngine(context_length=8)
    engine.allow(100)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        answer = await collect(client.inference.Chat(client.chat("word " * 5)))
    assert answer.started.max_tokens == 3
    assert answer.finished.usage.num_completion_tokens == 3


async def test_max_tokens_zero_answers_empty() -> None:
    """max_tokens 0 is an empty answer with LENGTH, and costs the engine nothing."""
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = client.chat("go")
        request.sampling.max_tokens = 0
        answer = await collect(client.inference.Chat(request))
    assert answer.events == ["started", "deltas", "finished"]
    assert answer.text == ""
    assert answer.choice_finished.finish_reason == events_pb2.FINISH_REASON_LENGTH
    assert engine.requests == []


@pytest.mark.parametrize("delivery", [events_pb2.DELIVERY_DELTAS, events_pb2.DELIVERY_FINAL])
async def test_no_tokens_of_several_choices(delivery: events_pb2.Delivery) -> None:
    """max_tokens 0 ends as many choices as are asked for."""
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        request = client.chat("go", delivery=delivery)
        request.sampling.max_tokens = 0
        request.sampling.n = 3
        responses = [response async for response in client.inference.Chat(request)]
    told = responses[-1].finished.choices or [
        delta for response in responses for delta in response.deltas.deltas
    ]
    assert [each.choice for each in told] == [0, 1, 2]
    assert {each.finished.finish_reason for each in told} == {events_pb2.FINISH_REASON_LENGTH}


async def test_choices_take_as_many_slots() -> None:
    """A request for two choices holds two slots: who comes next waits until it has ended."""
    engine = ScriptedEngine(max_running=3)
    async with start_front(
        ScriptedLauncher(engine).prepare, LLM_MAX_CONCURRENT_REQUESTS="3"
    ) as client:
        request = client.chat("go")
        request.sampling.max_tokens = 1
        request.sampling.n = 2
        first = client.inference.Chat(request)
        await engine.wait_until(running=1)
        second = client.chat("go", progress=True)
        second.sampling.CopyFrom(request.sampling)
        waiting = client.inference.Chat(second)
        async with asyncio.timeout(45):  # without a place in the queue there is nothing to read
            queued = await waiting.read()
        engine.allow(2)
        await collect(first)
        await collect(waiting)
    assert queued.progress.queued.place == 1
    assert [each.params.n for each in engine.requests] == [2, 2]


async def test_time_limit_ends_every_choice() -> None:
    """Choices that have said nothing end with the others, by TIME_LIMIT."""
    engine = ScriptedEngine(script=[Started(0), TextDelta("a", 1, choice=1)])
    engine.allow(1)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = client.chat("go", time_limit=Duration(nanos=200_000_000))
        request.sampling.n = 3
        engine.script = [*engine.script, TextDelta("never", 1)]
        responses = [response async for response in client.inference.Chat(request)]
    ends = [
        delta
        for response in responses
        for delta in response.deltas.deltas
        if delta.HasField("finished")
    ]
    assert {end.choice for end in ends} == {0, 1, 2}
    assert {end.finished.finish_reason for end in ends} == {events_pb2.FINISH_REASON_TIME_LIMIT}


async def test_seed_is_drawn_and_told() -> None:
    """Without a seed the server draws one, gives it to the engine and tells it."""
    engine = ScriptedEngine()
    engine.allow(100)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = client.chat("go")
        request.sampling.max_tokens = 1
        answers = [await collect(client.inference.Chat(request)) for _ in range(2)]
        request.sampling.seed = 7
        answers.append(await collect(client.inference.Chat(request)))
    seeds = [answer.started.seed for answer in answers]
    assert seeds[2] == 7
    assert seeds[0] != seeds[1]
    assert [engine_request.params.seed for engine_request in engine.requests] == seeds


async def test_time_limit_ends_the_answer() -> None:
    """time_limit aborts the engine and ends the stream well, with what there is."""
    engine = ScriptedEngine()
    engine.allow(2)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = client.chat("go", time_limit=Duration(nanos=300_000_000))
        answer = await collect(client.inference.Chat(request))
    assert answer.text == "0 1 "
    assert answer.choice_finished.finish_reason == events_pb2.FINISH_REASON_TIME_LIMIT
    assert answer.finished.usage.num_completion_tokens == 2
    assert engine.num_aborted == 1


@pytest.mark.parametrize("delivery", [events_pb2.DELIVERY_DELTAS, events_pb2.DELIVERY_FINAL])
async def test_time_limit_while_the_end_is_compared_with_its_constraint(
    monkeypatch: pytest.MonkeyPatch, delivery: Any
) -> None:
    """The choice, whose end was not told yet, ends by the limit."""
    compare = ConstraintChecker.compare
    is_first = True

    async def compare_late(checker: ConstraintChecker, grammar: str, text: str) -> Fit:
        nonlocal is_first
        if is_first:
            is_first = False
            await asyncio.Event().wait()
        return await compare(checker, grammar, text)

    monkeypatch.setattr(ConstraintChecker, "compare", compare_late)
    script = [Started(0), ChoiceFinished(FinishReason.LENGTH), Finished(0, 0)]
    engine = ScriptedEngine(script=script, constraints=("regex",))
    engine.allow(10)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = client.chat(
            "go",
            time_limit=Duration(nanos=50_000_000),
            constraint=sampling_pb2.Constraint(regex="a+"),
            delivery=delivery,
        )
        answer = await collect(client.inference.Chat(request))
    is_final = delivery == events_pb2.DELIVERY_FINAL
    end = answer.finished.choices[0].finished if is_final else answer.choice_finished
    assert end.finish_reason == events_pb2.FINISH_REASON_TIME_LIMIT


async def test_time_limit_before_the_first_token() -> None:
    """A time limit that passes during prefill still gives Started and Finished."""
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        request = client.chat("go", time_limit=Duration(nanos=50_000_000))
        answer = await collect(client.inference.Chat(request))
    assert answer.events == ["started", "deltas", "finished"]


async def test_wait_in_the_queue_has_a_limit() -> None:
    """A call that waits longer than LLM_QUEUE_TIMEOUT_MS is refused with QUEUE_TIMEOUT."""
    engine = ScriptedEngine(max_running=1)
    async with start_front(ScriptedLauncher(engine).prepare, LLM_QUEUE_TIMEOUT_MS="50") as client:
        call = client.inference.Chat(client.chat("go"))
        await engine.wait_until(running=1)
        failure = await failure_of(client.inference.Chat(client.chat("go")))
        call.cancel()
    assert failure.reason == "QUEUE_TIMEOUT"
    assert failure.metadata == {"limit_ms": "50"}


async def test_max_queue_wait_zero_does_not_wait() -> None:
    """A request that will not wait is refused at once when no slot is free."""
    engine = ScriptedEngine(max_running=1)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        call = client.inference.Chat(client.chat("go"))
        await engine.wait_until(running=1)
        request = client.chat("go", max_queue_wait=Duration())
        failure = await failure_of(client.inference.Chat(request))
        call.cancel()
    assert failure.reason == "AT_CAPACITY"


async def test_progress_tells_the_place_in_the_queue() -> None:
    """On request a waiting call hears its place, and then its start."""
    engine = ScriptedEngine(max_running=1)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        first = client.inference.Chat(client.chat("go"))
        await engine.wait_until(running=1)
        request = client.chat("go", progress=True)
        request.sampling.max_tokens = 1
        second = client.inference.Chat(request)
        progress = await second.read()
        assert progress.progress.queued.place == 1
        first.cancel()
        await engine.wait_until(running=1, aborted=1)
        engine.allow(1)
        answer = await collect(second)
    assert answer.events[0] == "started"
    assert answer.events[-1] == "finished"


def able(engine: ScriptedEngine, **capabilities: bool) -> ScriptedEngine:
    """The engine with these capabilities changed."""
    changed = replace(engine.info.capabilities, **capabilities)
    engine.info = replace(engine.info, capabilities=changed)
    return engine


@pytest.mark.parametrize(
    ("method", "fields", "capabilities", "field"),
    [
        (CHAT, {}, {"chat": False}, "model"),
        (GENERATE, {"suffix": "b"}, {"fill_in_the_middle": False}, "suffix"),
        (CHAT, {"return_token_ids": True}, {"token_ids": False}, "return_token_ids"),
    ],
)
async def test_what_the_model_cannot_do_is_refused_by_field(
    method: str, fields: dict[str, Any], capabilities: dict[str, bool], field: str
) -> None:
    """A request for what the model lacks names its field, and the engine hears nothing of it."""
    engine = able(ScriptedEngine(), **capabilities)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = (client.chat if method == CHAT else client.prompt)("a", **fields)
        failure = await failure_of(client.unary(method)(request))
    assert failure.reason == "INVALID_REQUEST"
    assert failure.fields == [field]
    assert engine.prompts == []


async def test_instruction_without_a_template_is_continued() -> None:
    """An instruction on a model that cannot chat is its plain text."""
    engine = able(ScriptedEngine(), chat=False)
    engine.allow(1)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = client.prompt("a", as_instruction=True)
        request.sampling.max_tokens = 1
        await collect(client.inference.Generate(request))
    assert engine.prompts == [TextPrompt("a")]


async def test_endless_prompt_is_refused_before_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A prompt over the limit of characters is refused with both numbers, before tokenising."""
    monkeypatch.setattr("tokenwire.server.request.checks.prompt_checks.MAX_PROMPT_CHARACTERS", 3)
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        failure = await failure_of(client.inference.Chat(client.chat("four")))
        assert engine.prompts == []
        engine.allow(1)
        request = client.chat("two", sampling=sampling_pb2.Sampling(max_tokens=1))
        await collect(client.inference.Chat(request))
    assert failure.message == "messages: must have at most 3 characters, got 4"
