"""Every event of an answer, from the engine to a caller over a real socket."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from tokenwire.generated.tokenwire.v1 import events_pb2
from tokenwire.server.contract.events import (
    ChoiceFinished,
    Delta,
    Finished,
    FinishReason,
    Prefill,
    ReasoningDelta,
    Started,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    TopLogprob,
)

from ..fronts import CHAT, GENERATE, Client, start_front
from ..random_deltas import ENDS, random_deltas, said
from ..scripted_engine import ScriptedEngine, ScriptedLauncher, has_content, stop_at

USAGE = events_pb2.Usage(
    num_prompt_tokens=1,
    num_cached_prompt_tokens=1,
    num_completion_tokens=40,
    num_reasoning_tokens=6,
)


def text(token_id: int, words: str, choice: int = 0) -> TextDelta:
    """A token with its log-probability and that of another one."""
    top = (TopLogprob(token_id, -0.25, words.encode()), TopLogprob(99, -1.5, b"\xf0\x9f"))
    logprob = TokenLogprob(token_id, -0.25, words.encode(), top)
    return TextDelta(words, 1, (token_id,), (logprob,), choice)


def sent_text(token_id: int, words: str, choice: int = 0) -> events_pb2.Delta:
    """What a caller gets of it, ids included."""
    top = events_pb2.TokenLogprob.TopLogprob
    return events_pb2.Delta(
        choice=choice,
        text=events_pb2.TextDelta(
            text=words,
            token_ids=[token_id],
            logprobs=[
                events_pb2.TokenLogprob(
                    token_id=token_id,
                    logprob=-0.25,
                    text=words.encode(),
                    top=[
                        top(token_id=token_id, logprob=-0.25, text=words.encode()),
                        top(token_id=99, logprob=-1.5, text=b"\xf0\x9f"),
                    ],
                )
            ],
        ),
    )


def sent_thought(words: str, *token_ids: int) -> events_pb2.Delta:
    return events_pb2.Delta(reasoning=events_pb2.ReasoningDelta(text=words, token_ids=token_ids))


def sent_call(**part: Any) -> events_pb2.Delta:
    return events_pb2.Delta(tool_call=events_pb2.ToolCallDelta(**part))


def sent_end(reason: str, choice: int = 0, **matched: Any) -> events_pb2.Delta:
    number = events_pb2.FinishReason.Value(f"FINISH_REASON_{reason}")
    return events_pb2.Delta(
        choice=choice, finished=events_pb2.ChoiceFinished(finish_reason=number, **matched)
    )


INTERLEAVED = (
    [
        text(1, "one ", 2),
        text(2, "eins ", 0),
        text(3, "un ", 1),
        text(4, "two", 2),
        ChoiceFinished(FinishReason.EOS, None, 2),
        text(5, "deux", 1),
        text(6, "zwei", 0),
        ChoiceFinished(FinishReason.STOP, 8, 1),
        ChoiceFinished(FinishReason.LENGTH, None, 0),
    ],
    [
        sent_text(1, "one ", 2),
        sent_text(2, "eins ", 0),
        sent_text(3, "un ", 1),
        sent_text(4, "two", 2),
        sent_end("EOS", 2),
        sent_text(5, "deux", 1),
        sent_text(6, "zwei", 0),
        sent_end("STOP", 1, stop_token_id=8),
        sent_end("LENGTH"),
    ],
)

THOUGHT_AND_TOOLS = (
    [
        ReasoningDelta("The user wants ", 2, (1, 2)),
        ReasoningDelta("two things.", 1, (3,)),
        text(4, "Let me look."),
        ToolCallDelta(0, "call-0", "weather", ""),
        ToolCallDelta(0, "", "", '{"city":', 4),
        ToolCallDelta(0, "", "", '"Paris"}', 3),
        ToolCallDelta(1, "call-1", "time", "{}", 2),
        ChoiceFinished(FinishReason.TOOL_CALLS),
    ],
    [
        sent_thought("The user wants ", 1, 2),
        sent_thought("two things.", 3),
        sent_text(4, "Let me look."),
        sent_call(index=0, id="call-0", name="weather"),
        sent_call(index=0, arguments='{"city":'),
        sent_call(index=0, arguments='"Paris"}'),
        sent_call(index=1, id="call-1", name="time", arguments="{}"),
        sent_end("TOOL_CALLS"),
    ],
)

Script = tuple[list[Delta], list[events_pb2.Delta]]


@asynccontextmanager
async def front_with(deltas: Sequence[Delta]) -> AsyncGenerator[tuple[Client, ScriptedEngine]]:
    """A front whose engine has these deltas between its beginning and its end."""
    engine = ScriptedEngine(script=script_of(deltas))
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        yield client, engine


def script_of(deltas: Sequence[Delta]) -> list[Any]:
    return [Prefill(1, 2), Started(1), *deltas, Finished(40, 1, 6)]


async def read(stream: Any) -> list[Any]:
    """All messages of a stream."""
    responses: list[Any] = []
    while (response := await stream.read()) is not grpc.aio.EOF:
        responses.append(response)
    return responses


@pytest.mark.parametrize("method", [CHAT, GENERATE])
@pytest.mark.parametrize("script", [INTERLEAVED, THOUGHT_AND_TOOLS])
async def test_every_event_arrives_as_sent(script: Script, method: str) -> None:
    """A caller who keeps up gets each piece by itself, as the engine said it, in its order."""
    deltas, expected = script
    async with front_with(deltas) as (client, engine):
        make = client.chat if method == CHAT else client.prompt
        stub = client.inference.Chat if method == CHAT else client.inference.Generate
        call = stub(make("go", return_token_ids=True))
        engine.allow(1)
        responses = [await call.read()]
        num_allowed = 1
        while not responses[-1].HasField("finished"):
            if sum(map(has_content, deltas[: len(deltas_of(responses))])) == num_allowed:
                engine.allow(1)  # one at a time, so that none waits for the caller
                num_allowed += 1
            responses.append(await call.read())
    assert responses[0].started.num_cached_prompt_tokens == 1
    assert deltas_of(responses) == expected
    assert responses[-1].finished.usage == USAGE
    told = [response.position for response in responses if response.HasField("deltas")]
    assert told == sorted(set(told))
    assert (responses[0].position, told[-1], responses[-1].position) == (0, *[len(deltas)] * 2)


@pytest.mark.parametrize("script", [INTERLEAVED, THOUGHT_AND_TOOLS])
async def test_final_holds_every_event(script: Script) -> None:
    """With delivery FINAL the one message holds all that a stream would have told."""
    deltas, expected = script
    async with front_with(deltas) as (client, engine):
        engine.allow(100)
        request = client.chat(
            "go", delivery=events_pb2.DELIVERY_FINAL, return_token_ids=True, progress=True
        )
        final = await client.unary()(request)
    assert list(final.finished.choices) == joined(expected)
    assert final.finished.usage == USAGE
    assert final.finished.started.num_cached_prompt_tokens == 1
    assert final.position == len(deltas)


async def test_ids_come_where_they_are_asked_for() -> None:
    """Without return_token_ids neither text nor thinking has ids; log-probabilities stay."""
    async with front_with([ReasoningDelta("a", 1, (1,)), text(2, "b"), *ends()]) as (
        client,
        engine,
    ):
        engine.allow(100)
        stream = deltas_of(await read(client.inference.Chat(client.chat("go"))))
        request = client.chat("go", delivery=events_pb2.DELIVERY_FINAL)
        (choice,) = (await client.unary()(request)).finished.choices
    thought, spoken, _ = stream
    assert (thought.reasoning.text, list(thought.reasoning.token_ids)) == ("a", [])
    assert (spoken.text.text, list(spoken.text.token_ids)) == ("b", [])
    assert spoken.text.logprobs == sent_text(2, "b").text.logprobs == choice.logprobs
    assert list(choice.token_ids) == []


@pytest.mark.parametrize("delivery", [events_pb2.DELIVERY_DELTAS, events_pb2.DELIVERY_FINAL])
async def test_every_end_of_a_choice(delivery: events_pb2.Delivery.ValueType) -> None:
    """Every finish reason arrives, with the string or the id that matched."""
    deltas = [ChoiceFinished(*end, choice) for choice, end in enumerate(ENDS)]
    async with front_with([text(1, "a"), *deltas]) as (client, engine):
        engine.allow(100)
        responses = await read(client.inference.Chat(client.chat("go", delivery=delivery)))
    told = responses[-1].finished.choices or joined(deltas_of(responses))
    assert [choice.finished for choice in told] == [
        sent_end("STOP", stop="END").finished,
        sent_end("STOP", stop_token_id=7).finished,
        sent_end("EOS").finished,
        sent_end("LENGTH").finished,
        sent_end("TIME_LIMIT").finished,
        sent_end("TOOL_CALLS").finished,
    ]


async def test_final_equals_the_joined_deltas() -> None:
    """Whatever an engine says, the whole answer is what the pieces of the stream come to."""
    async with front_with([]) as (client, engine):
        for seed in range(25):
            deltas = random_deltas(seed)
            engine.script = script_of(deltas)
            engine.allow(2 * len(deltas))
            request = client.chat("go", return_token_ids=True)
            responses = await read(client.inference.Chat(request))
            request.delivery = events_pb2.DELIVERY_FINAL
            final = await client.unary()(request)
            choices = list(final.finished.choices)
            assert choices == joined(deltas_of(responses)), seed
            from_engine = [each for each in stop_at((), deltas) if isinstance(each, Delta)]
            script = said(from_engine)
            assert [(choice.text, choice.reasoning, choice.token_ids) for choice in choices] == [
                (each.text, each.reasoning, each.token_ids)
                for each in (script[index] for index in sorted(script))
            ]
            assert final.finished.usage == responses[-1].finished.usage
            assert final.position == responses[-1].position == len(from_engine)
            positions = [response.position for response in responses]
            assert positions == sorted(positions)


def ends() -> list[Delta]:
    return [ChoiceFinished(FinishReason.EOS)]


def deltas_of(responses: Sequence[Any]) -> list[events_pb2.Delta]:
    """The pieces that were sent."""
    return [delta for response in responses for delta in response.deltas.deltas]


def joined(deltas: Sequence[events_pb2.Delta]) -> list[events_pb2.Choice]:
    """What pieces come to, put together the simple way."""
    choices: dict[int, events_pb2.Choice] = {}
    for delta in deltas:
        choice = choices.setdefault(delta.choice, events_pb2.Choice(choice=delta.choice))
        choice.text += delta.text.text
        choice.reasoning += delta.reasoning.text
        choice.token_ids.extend([*delta.text.token_ids, *delta.reasoning.token_ids])
        choice.logprobs.extend(delta.text.logprobs)
        if delta.HasField("finished"):
            choice.finished.CopyFrom(delta.finished)
        if delta.HasField("tool_call"):
            if delta.tool_call.index == len(choice.tool_calls):
                choice.tool_calls.add(index=delta.tool_call.index)
            call = choice.tool_calls[delta.tool_call.index]
            call.id += delta.tool_call.id
            call.name += delta.tool_call.name
            call.arguments += delta.tool_call.arguments
    return [choices[index] for index in sorted(choices)]
