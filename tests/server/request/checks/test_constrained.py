"""Constraints of requests, with an engine that says what a test lets it say."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from tokenwire.generated.tokenwire.v1 import events_pb2, sampling_pb2
from tokenwire.server.contract.events import (
    ChoiceFinished,
    Finished,
    FinishReason,
    Started,
    TextDelta,
)

from ...constraints.bad_constraints import BAD
from ...fronts import GENERATE, Client, collect, failure_of, start_front
from ...scripted_engine import ScriptedEngine, ScriptedLauncher
from .tool_engine import YES_OR_NO, saying


@pytest.mark.parametrize(
    ("text", "reason", "is_incomplete"),
    [
        ("yes", FinishReason.EOS, False),
        ("yes", FinishReason.LENGTH, False),
        ("ye", FinishReason.LENGTH, True),
        ("y", FinishReason.STOP, True),
        ("", FinishReason.LENGTH, True),
    ],
)
async def test_end_tells_whether_the_text_is_whole(
    text: str, reason: FinishReason, is_incomplete: bool
) -> None:
    """The end of a choice says whether its text is whole, in a stream and with FINAL alike."""
    engine = ScriptedEngine(script=saying(text, reason))
    engine.allow(10)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = client.prompt("go", constraint=YES_OR_NO)
        streamed = await collect(client.inference.Generate(request))
        request.delivery = events_pb2.DELIVERY_FINAL
        final = await client.unary(GENERATE)(request)
    assert streamed.choice_finished.constraint_incomplete == is_incomplete
    assert final.finished.choices[0].finished == streamed.choice_finished
    assert final.finished.choices[0].text == streamed.text == text
    assert all(request.constraint.startswith("%llguidance") for request in engine.requests)


@pytest.mark.parametrize(
    ("text", "reason"), [("maybe", FinishReason.LENGTH), ("ye", FinishReason.EOS)]
)
async def test_engine_that_does_not_keep_to_it_has_failed(text: str, reason: FinishReason) -> None:
    """An answer that does not fit, or ends by itself too early, is never told as an answer."""
    engine = ScriptedEngine(script=saying(text, reason))
    engine.allow(10)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = client.prompt("go", constraint=YES_OR_NO)
        failure = await failure_of(client.inference.Generate(request))
    assert failure.code is grpc.StatusCode.INTERNAL
    assert failure.reason == "GENERATION_FAILED"


async def test_no_tokens_at_all() -> None:
    """With max_tokens 0 the empty text is incomplete, where it is none that is asked for."""
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        request = client.prompt("go", constraint=YES_OR_NO)
        request.sampling.max_tokens = 0
        answer = await collect(client.inference.Generate(request))
    assert answer.choice_finished.constraint_incomplete


async def test_time_limit_leaves_it_incomplete() -> None:
    """A time limit that ends an answer in the middle tells that it is incomplete."""
    engine = ScriptedEngine(script=saying("yes", FinishReason.EOS))
    engine.allow(1)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = client.prompt("go", constraint=YES_OR_NO)
        request.time_limit.FromMilliseconds(300)
        answer = await collect(client.inference.Generate(request))
    assert answer.choice_finished.finish_reason == events_pb2.FINISH_REASON_TIME_LIMIT
    assert answer.choice_finished.constraint_incomplete


@pytest.mark.parametrize(("field", "value"), [("ignore_eos", True), ("min_tokens", 3)])
async def test_what_contradicts_it_is_refused(field: str, value: Any) -> None:
    """Going on past the end goes together with no constraint."""
    engine = ScriptedEngine()
    engine.allow(100)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = client.chat("go", constraint=YES_OR_NO)
        setattr(request.sampling, field, value)
        failure = await failure_of(client.inference.Chat(request))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert f"sampling.{field}" in failure.message
    assert not engine.requests


async def test_kind_that_the_engine_lacks_is_refused_and_listed() -> None:
    """ListModels tells the kinds, and a request for another names the field."""
    engine = ScriptedEngine(constraints=("regex",))
    engine.allow(100)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        (model,) = (await client.list_models()).values()
        failure = await failure_of(client.inference.Chat(client.chat("go", constraint=YES_OR_NO)))
    assert list(model.capabilities.constraints) == ["regex"]
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "constraint.choice: is not supported" in failure.message


async def test_bad_ones_are_refused_while_a_neighbour_goes_on() -> None:
    """Each bad constraint is refused while another caller's stream gets its tokens."""
    engine = ScriptedEngine(max_running=2)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = client.chat("go")
        request.sampling.max_tokens = 50
        neighbour = client.inference.Chat(request)
        await engine.wait_until(running=1)
        texts: list[str] = []
        reading = asyncio.create_task(_read_texts(neighbour, texts))
        for name, constraint, _ in BAD[::12]:
            engine.allow(1)
            failure = await _refused(client, constraint)
            assert failure.code is grpc.StatusCode.INVALID_ARGUMENT, name
            assert f"constraint.{constraint.kind.value}: " in failure.message
        engine.allow(50)
        await reading
    assert "".join(texts) == "".join(f"{number} " for number in range(50))
    assert len(engine.requests) == 1


async def test_each_choice_has_an_end_of_its_own() -> None:
    """With several choices the text of each is compared alone."""
    script = (
        Started(0),
        TextDelta("y", 1, choice=0),
        TextDelta("n", 1, choice=1),
        TextDelta("es", 1, choice=0),
        ChoiceFinished(FinishReason.EOS, choice=0),
        ChoiceFinished(FinishReason.LENGTH, choice=1),
        Finished(3, 0),
    )
    engine = ScriptedEngine(script=script)
    engine.allow(10)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = client.prompt("go", constraint=YES_OR_NO, delivery=events_pb2.DELIVERY_FINAL)
        request.sampling.n = 2
        choices = (await client.unary(GENERATE)(request)).finished.choices
    assert [choice.text for choice in choices] == ["yes", "n"]
    assert [choice.finished.constraint_incomplete for choice in choices] == [False, True]


async def test_no_tokens_of_several_choices() -> None:
    """With max_tokens 0 every choice is incomplete."""
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        request = client.prompt("go", constraint=YES_OR_NO, delivery=events_pb2.DELIVERY_FINAL)
        request.sampling.max_tokens, request.sampling.n = 0, 2
        choices = (await client.unary(GENERATE)(request)).finished.choices
    assert [choice.finished.constraint_incomplete for choice in choices] == [True, True]


async def _refused(client: Client, constraint: Any) -> Any:
    asked = sampling_pb2.Constraint(**{constraint.kind.value: constraint.texts[0]})
    return await failure_of(client.inference.Chat(client.chat("go", constraint=asked)))


async def _read_texts(call: Any, texts: list[str]) -> None:
    async for response in call:
        texts += [delta.text.text for delta in response.deltas.deltas]
