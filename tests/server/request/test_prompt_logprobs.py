"""What is told of a prompt: once, before the answer, over real sockets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from tokenwire.generated.tokenwire.v1 import events_pb2, inference_pb2
from tokenwire.server.contract.events import (
    ChoiceFinished,
    EngineEvent,
    Finished,
    FinishReason,
    PromptLogprobs,
    PromptTokenLogprob,
    ReasoningDelta,
    Started,
    TextDelta,
    TopLogprob,
)

from ..fronts import CHAT, Client, failure_of, start_front
from ..rpc.test_sender_events import deltas_of, joined, read
from ..scripted_engine import ScriptedEngine, ScriptedLauncher

TOP = (TopLogprob(7, -0.25, b"\xf0\x9f"),)
PROMPT = [
    PromptTokenLogprob(1, None, b"<s>"),
    PromptTokenLogprob(2, -0.5, b"a", TOP),
    PromptTokenLogprob(3, -1.5, b"b", TOP),
]
SENT = [
    events_pb2.PromptTokenLogprob(token_id=1, text=b"<s>"),
    *(
        events_pb2.PromptTokenLogprob(
            token_id=token_id,
            logprob=logprob,
            text=text,
            top=[events_pb2.TokenLogprob.TopLogprob(token_id=7, logprob=-0.25, text=b"\xf0\x9f")],
        )
        for token_id, logprob, text in ((2, -0.5, b"a"), (3, -1.5, b"b"))
    ),
]
MAX_GRPC_BYTES = 4 << 20


def script(*pieces: Sequence[PromptTokenLogprob], num_tokens: int = 3) -> list[EngineEvent]:
    return [
        Started(0),
        *(PromptLogprobs(tuple(piece)) for piece in pieces),
        *(TextDelta(f"{number} ", 1, (number,)) for number in range(num_tokens)),
        ChoiceFinished(FinishReason.EOS),
        Finished(num_tokens, 0),
    ]


def ask(client: Client, **fields: Any) -> inference_pb2.ChatRequest:
    """A conversation that the scripted engine reads as three tokens."""
    request = client.chat("<s> a b", **fields)
    request.sampling.prompt_logprobs = 1
    return request


def prompt_of(responses: Sequence[Any]) -> list[events_pb2.PromptTokenLogprob]:
    """What is told of the prompt: nothing of the answer comes before it."""
    kinds = [delta.WhichOneof("kind") for delta in deltas_of(responses)]
    assert sorted(kinds, key=lambda kind: kind != "prompt_logprobs") == kinds
    return [token for delta in deltas_of(responses) for token in delta.prompt_logprobs.tokens]


async def test_told_before_the_answer_and_in_the_whole_of_it() -> None:
    """A stream and one message have the same, which is none where nobody asks."""
    engine = ScriptedEngine(script=script(PROMPT[:2], PROMPT[2:]))
    engine.allow(100)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        streamed = await read(client.inference.Chat(ask(client)))
        final = await client.unary(CHAT)(ask(client, delivery=events_pb2.DELIVERY_FINAL))
        silent = await read(client.inference.Chat(client.chat("<s> a b")))
    assert prompt_of(streamed) == SENT
    assert list(final.finished.prompt_logprobs) == SENT
    answer = [each for each in deltas_of(streamed) if not each.HasField("prompt_logprobs")]
    assert list(final.finished.choices) == joined(answer)
    assert final.position == streamed[-1].position
    assert prompt_of(silent) == []
    assert final.finished.usage == silent[-1].finished.usage


async def test_engine_is_asked_for_it_alone() -> None:
    """With max_tokens 0 the engine reads the prompt, and the answer is empty."""
    engine = ScriptedEngine(script=script(PROMPT, num_tokens=0))
    engine.allow(1)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = ask(client)
        request.sampling.max_tokens = 0
        responses = await read(client.inference.Chat(request))
    assert prompt_of(responses) == SENT
    (params,) = (each.params for each in engine.requests)
    assert (params.max_tokens, params.prompt_logprobs) == (0, 1)
    assert responses[-1].finished.usage.num_completion_tokens == 0


async def test_first_token_is_one_of_the_answer() -> None:
    """What is told of the prompt is no token: an answer without one has no time to its first."""
    engine = ScriptedEngine(script=script(PROMPT, num_tokens=0))
    engine.allow(1)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        responses = await read(client.inference.Chat(ask(client)))
    assert not responses[-1].finished.timings.HasField("time_to_first_token")


@pytest.mark.parametrize("num_before", [0, 1, 2, 3])
async def test_engine_that_takes_over_tells_what_is_missing(num_before: int) -> None:
    """Wherever an engine dies, each token is told once; the next one is not asked in vain."""
    whole = script(PROMPT[:1], PROMPT[1:])
    # What says nothing comes with the start in place of the first token, where it comes too early.
    early = [] if num_before == 3 else [ReasoningDelta("", 0)]
    first = ScriptedEngine(script=[*whole[: 1 + min(num_before, 2)], *early, *whole[3:]])
    second = ScriptedEngine(script=whole)
    first.allow(1)
    async with start_front(ScriptedLauncher(first, second).prepare) as client:
        call = client.inference.Chat(ask(client))
        responses = [await call.read()]
        while responses[-1].position < num_before:
            responses.append(await call.read())
        second.allow(100)
        first.die()
        responses += await read(call)
    assert prompt_of(responses) == SENT
    assert "".join(delta.text.text for delta in deltas_of(responses)) == "0 1 2 "
    asked = second.requests[0].params.prompt_logprobs
    assert asked == (1 if num_before < 2 else None)


async def test_client_that_comes_back_is_told_what_it_missed() -> None:
    """It is part of what is resumed, from any position."""
    engine = ScriptedEngine(script=script(PROMPT[:1], PROMPT[1:]))
    engine.allow(100)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = ask(client, detach_timeout=Duration(seconds=60))
        responses = await read(client.inference.Chat(request))
        request_id = responses[0].started.request_id
        for after, expected in ((0, SENT), (responses[-1].position, [])):
            resume = inference_pb2.Resume(request_id=request_id, after_position=after)
            again = await read(client.inference.Chat(inference_pb2.ChatRequest(resume=resume)))
            assert prompt_of(again) == expected


async def test_long_prompt_is_refused() -> None:
    """One that would have too many names the field, before it is queued."""
    engine = ScriptedEngine(context_length=70_000)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = client.chat("a " * 32_769)
        request.sampling.prompt_logprobs = 1
        failure = await failure_of(client.inference.Chat(request))
        assert failure.reason == "INVALID_REQUEST"
        assert failure.fields == ["sampling.prompt_logprobs"]
    assert engine.requests == []


@pytest.mark.parametrize("delivery", [events_pb2.DELIVERY_DELTAS, events_pb2.DELIVERY_FINAL])
async def test_largest_prompt_fits_into_messages(delivery: events_pb2.Delivery.ValueType) -> None:
    """All that may be told at once arrives with the limit that clients have by default."""
    tokens = [
        PromptTokenLogprob(token_id, -0.5, b" token", (TopLogprob(token_id, -0.5, b" token"),))
        for token_id in range(32_768)
    ]
    pieces = [tokens[at : at + 512] for at in range(0, len(tokens), 512)]
    engine = ScriptedEngine(script=script(*pieces))
    engine.allow(100)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        responses = await read(client.inference.Chat(ask(client, delivery=delivery)))
    told = responses[-1].finished.prompt_logprobs or prompt_of(responses)
    assert [token.token_id for token in told] == list(range(32_768))
    assert max(response.ByteSize() for response in responses) < MAX_GRPC_BYTES
