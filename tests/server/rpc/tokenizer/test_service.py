"""Tokenize, Detokenize and CountTokens over a real socket, with a scripted engine."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from tokenwire.generated.tokenwire.v1 import (
    chat_pb2,
    inference_pb2,
    sampling_pb2,
    tokenizer_pb2,
)
from tokenwire.generated.tokenwire.v1.tokenizer_pb2_grpc import TokenizerServiceStub
from tokenwire.server.models.model_state import State
from tokenwire.server.settings.fixed_limits import MAX_CONCURRENT_RENDERS, MAX_PROMPT_CHARACTERS

from ...fronts import Client, collect, failure_of, scrape, start_front, wait_for_state
from ...models.on_demand import engine_with_tokens, first_model, lazy_front
from ...scripted_engine import ScriptedEngine, ScriptedLauncher

GUARD_S = 45.0
NO_WAIT = Duration()


def stub(client: Client) -> Any:
    return TokenizerServiceStub(client.channel)


def tokenize(client: Client, text: str, **fields: Any) -> Any:
    request = tokenizer_pb2.TokenizeRequest(model=client.model, text=text, **fields)
    return stub(client).Tokenize(request)


def detokenize(client: Client, *ids: int, **fields: Any) -> Any:
    request = tokenizer_pb2.DetokenizeRequest(model=client.model, token_ids=ids, **fields)
    return stub(client).Detokenize(request)


def count(client: Client, text: str, **fields: Any) -> Any:
    request = client.chat(text, **fields)
    return stub(client).CountTokens(tokenizer_pb2.CountTokensRequest(chat=request))


async def test_tokenize_and_back() -> None:
    """A text becomes ids, pieces come where they are asked for, and ids become the text."""
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        plain = await tokenize(client, "ab")
        assert (list(plain.token_ids), list(plain.pieces)) == ([97, 98], [])
        full = await tokenize(client, "ab", add_special_tokens=True, return_pieces=True)
        assert list(full.token_ids) == [0, 97, 98, 1]
        assert list(full.pieces) == [b"", b"a", b"b", b""]
        text = await detokenize(client, 97, 98)
    assert (text.text, text.data) == ("ab", b"")


async def test_detokenize_tells_bytes_that_are_no_characters() -> None:
    """Bytes come where they are not whole characters, and the text says where."""
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        answer = await detokenize(client, 97, *"\u20ac".encode()[:2])
    assert answer.text == "a\ufffd"
    assert answer.data == b"a\xe2\x82"


async def test_count_is_the_prompt_tokens_of_the_request() -> None:
    """A request is counted as it is read when it is sent, on both rpcs, and nothing runs."""
    engine = engine_with_tokens()
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        counted = await count(client, "one two three")
        asked = tokenizer_pb2.CountTokensRequest(generate=client.prompt("one two"))
        of_prompt = await stub(client).CountTokens(asked)
        assert engine.requests == []
        sampling = sampling_pb2.Sampling(max_tokens=1)
        chat = client.chat("one two three", sampling=sampling)
        answer = await collect(client.inference.Chat(chat))
        prompt = client.prompt("one two", sampling=sampling)
        other = await collect(client.inference.Generate(prompt))
    assert counted.num_prompt_tokens == answer.started.num_prompt_tokens == 3
    assert of_prompt.num_prompt_tokens == other.started.num_prompt_tokens
    assert counted.context_length == 64


async def test_count_over_the_context_is_told() -> None:
    """A prompt that is too long is counted: how much must go is what a caller wants to know."""
    async with start_front(ScriptedLauncher(ScriptedEngine(context_length=8)).prepare) as client:
        counted = await count(client, "word " * 20)
    assert (counted.num_prompt_tokens, counted.context_length) == (20, 8)


async def test_no_slot_is_needed() -> None:
    """All three are answered while every slot is busy, and none waits in the queue."""
    engine = ScriptedEngine(max_running=1)
    engine.allow(1)
    async with (
        asyncio.timeout(GUARD_S),
        start_front(ScriptedLauncher(engine).prepare, LLM_MAX_QUEUED_REQUESTS="0") as client,
    ):
        call = client.inference.Chat(client.chat("go"))
        await call.read()
        assert (await count(client, "a b")).num_prompt_tokens == 2
        assert list((await tokenize(client, "a")).token_ids) == [97]
        assert (await detokenize(client, 97)).text == "a"
        call.cancel()


FIELDS: list[tuple[Any, list[str]]] = [
    (tokenizer_pb2.TokenizeRequest(text="a"), ["model"]),
    (tokenizer_pb2.TokenizeRequest(model="m", text="a" * 262_145), ["text"]),
    (
        tokenizer_pb2.TokenizeRequest(model="m", max_queue_wait=Duration(seconds=-1)),
        ["max_queue_wait"],
    ),
    (tokenizer_pb2.DetokenizeRequest(model="m", token_ids=[1] * 262_145), ["token_ids"]),
    (tokenizer_pb2.DetokenizeRequest(model="test/scripted", token_ids=[256]), ["token_ids"]),
    (tokenizer_pb2.CountTokensRequest(), ["request"]),
]


async def test_wrong_field_is_named() -> None:
    """A field that is missing, too large or out of range is refused by name."""
    # One front for all: it is the same whatever it is asked.
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        for request, fields in FIELDS:
            method = type(request).__name__.removesuffix("Request")
            failure = await failure_of(getattr(stub(client), method)(request))
            assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
            assert failure.reason == "INVALID_REQUEST"
            assert failure.fields == fields
            assert failure.request_id


async def test_fields_of_the_counted_request_are_below_it() -> None:
    """What a counted request is refused for has the path of the field in the call."""
    sampling = sampling_pb2.Sampling(temperature=3)
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        request = tokenizer_pb2.CountTokensRequest(chat=client.chat("hi"))
        request.chat.messages[0].role = chat_pb2.ROLE_UNSPECIFIED
        request.chat.sampling.MergeFrom(sampling)
        rules = await failure_of(stub(client).CountTokens(request))
        request = tokenizer_pb2.CountTokensRequest(chat=client.chat("hi"))
        request.chat.template_arguments.values["messages"] = "x"
        decoded = await failure_of(stub(client).CountTokens(request))
        request = tokenizer_pb2.CountTokensRequest(generate=client.prompt("hi", suffix="x"))
        chosen = await failure_of(stub(client).CountTokens(request))
    assert sorted(rules.fields) == ["chat.messages[0].role", "chat.sampling.temperature"]
    assert decoded.fields == ["chat.template_arguments"]
    assert decoded.message.startswith("chat.template_arguments: ")
    assert chosen.fields == ["generate.suffix"]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"sampling": sampling_pb2.Sampling(max_tokens=4097)}, "chat.sampling.max_tokens"),
    ({"sampling": sampling_pb2.Sampling(stop_token_ids=[100])}, "chat.sampling.stop_token_ids"),
    ({"sampling": sampling_pb2.Sampling(logit_bias={100: 1})}, "chat.sampling.logit_bias"),
    ({"lora_adapter": "none"}, "chat.lora_adapter"),
    ({"constraint": sampling_pb2.Constraint(regex="(")}, "chat.constraint.regex"),
    (
        {
            "constraint": sampling_pb2.Constraint(regex="a"),
            "sampling": sampling_pb2.Sampling(ignore_eos=True),
        },
        "chat.sampling.ignore_eos",
    ),
    ({"resume": inference_pb2.Resume(request_id="r")}, "chat.resume"),
]


async def test_what_a_request_is_refused_for_is_not_counted() -> None:
    """A counted request is held to the server and the model as one that is sent is."""
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        for fields, name in REFUSED:
            failure = await failure_of(count(client, "hi", **fields))
            assert (failure.reason, failure.fields) == ("INVALID_REQUEST", [name])
            if "resume" not in fields:  # which is not sent with messages
                sent = await failure_of(client.inference.Chat(client.chat("hi", **fields)))
                assert [f"chat.{field}" for field in sent.fields] == [name]
        fits = sampling_pb2.Sampling(max_tokens=4096, stop_token_ids=[99], logit_bias={99: 1})
        assert (await count(client, "hi", sampling=fits)).num_prompt_tokens == 1


async def test_too_large_to_count_is_refused() -> None:
    """A text that no context holds is refused before a tokenizer spends seconds on it."""
    engine = ScriptedEngine()
    async with start_front(
        ScriptedLauncher(engine).prepare, LLM_MAX_MESSAGE_BYTES=str(16 << 20)
    ) as client:
        failure = await failure_of(count(client, "a" * (MAX_PROMPT_CHARACTERS + 1)))
        assert engine.prompts == []
    assert failure.fields == ["chat.messages"]


async def test_unknown_model() -> None:
    """A model that is not here is NOT_FOUND for all three."""
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as front:
        client = front.on("test/none")
        for call in (tokenize(client, "a"), detokenize(client, 1), count(client, "a")):
            failure = await failure_of(call)
            assert (failure.code, failure.reason) == (
                grpc.StatusCode.NOT_FOUND,
                "UNSUPPORTED_MODEL",
            )


async def test_lazy_model_is_loaded() -> None:
    """A call loads a model that is on demand, and is answered when it serves."""
    launcher = ScriptedLauncher(engine_with_tokens())
    launcher.gate.clear()
    async with asyncio.timeout(GUARD_S), lazy_front(launcher) as client:
        calls = [tokenize(client, "a"), detokenize(client, 97), count(client, "a b")]
        tasks = [asyncio.ensure_future(call) for call in calls]
        await wait_for_state(client.app, State.LOADING)
        # One that allows no wait is refused meanwhile.
        failure = await failure_of(tokenize(client, "a", max_queue_wait=NO_WAIT))
        assert (failure.reason, failure.retry_after_s) == ("MODEL_LOADING", 5)
        assert first_model(client).admission.num_in_flight == 0
        launcher.gate.set()
        ids, text, counted = await asyncio.gather(*tasks)
    assert list(ids.token_ids) == [97]
    assert text.text == "a"
    assert counted.num_prompt_tokens == 2


async def test_model_that_loads_by_itself_is_not_waited_for() -> None:
    """While the server loads a model unasked, calls are refused as requests are."""
    launcher = ScriptedLauncher(ScriptedEngine())
    launcher.gate.clear()
    async with (
        asyncio.timeout(GUARD_S),
        start_front(launcher.prepare, wait=False) as client,
    ):
        failure = await failure_of(count(client, "a"))
    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "MODEL_LOADING")


async def test_no_turn_in_time() -> None:
    """A call that no tokenizer takes within its wait gets QUEUE_TIMEOUT."""
    engine = ScriptedEngine()
    engine.renders.clear()
    async with asyncio.timeout(GUARD_S), start_front(ScriptedLauncher(engine).prepare) as client:
        busy = [asyncio.ensure_future(count(client, "a")) for _ in range(MAX_CONCURRENT_RENDERS)]
        await engine.wait_until_rendering(MAX_CONCURRENT_RENDERS)
        failure = await failure_of(tokenize(client, "a", max_queue_wait=Duration(nanos=1)))
        engine.renders.set()
        await asyncio.gather(*busy)
    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "QUEUE_TIMEOUT")


async def test_dead_engine() -> None:
    """An engine that dies under a call is ENGINE_LOST, with when to try again."""
    engine = ScriptedEngine()
    engine.renders.clear()
    async with asyncio.timeout(GUARD_S), start_front(ScriptedLauncher(engine).prepare) as client:
        call = asyncio.ensure_future(failure_of(count(client, "a")))
        await engine.wait_until_rendering(1)
        engine.die()
        failure = await call
    assert (failure.reason, failure.retry_after_s) == ("ENGINE_LOST", 5)


async def test_drain_waits_for_a_call() -> None:
    """A drain refuses new calls and lets those that run be answered."""
    engine = ScriptedEngine()
    engine.renders.clear()
    async with (
        asyncio.timeout(GUARD_S),
        start_front(ScriptedLauncher(engine).prepare, LLM_DRAIN_DELAY_S="0") as client,
    ):
        call = asyncio.ensure_future(count(client, "a b"))
        await engine.wait_until_rendering(1)
        await tokenize(client, "a")  # the end of one is not the end of all
        draining = asyncio.ensure_future(client.app.drain())
        refused = ""
        while refused != "DRAINING":  # ends when the drain has begun
            with suppress(AssertionError):  # it was answered
                refused = (await failure_of(tokenize(client, "a"))).reason
        assert not draining.done()
        engine.renders.set()
        assert (await call).num_prompt_tokens == 2
        await draining


async def test_metrics_have_the_calls() -> None:
    """Each rpc has its series from the start."""
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        page = [line for line in await scrape(client) if line.startswith("grpc_server_started")]
    for name in ("Tokenize", "Detokenize", "CountTokens"):
        label = f'grpc_method="{name}",grpc_service="tokenwire.v1.TokenizerService"'
        assert any(label in line for line in page)
