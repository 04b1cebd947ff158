"""Requests that an engine must never see, and callers that must not disturb each other.

SGLang's scheduler does not survive an empty prompt or a token id outside its vocabulary, and it
matches the ids of requests by their beginnings; llama.cpp takes values that are no numbers without
a word. So each of these ends at the front.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from tokenwire.generated.tokenwire.v1 import events_pb2, inference_pb2
from tokenwire.server.contract.template_arguments import RESERVED_TEMPLATE_ARGUMENTS

from .engines.generation import HANG_S
from .fronts import Client, collect, failure_of
from .lent_engine import LentEngine

Make = Callable[[Client, int], Any]


def sampled(**values: Any) -> Make:
    """A request with these sampling values."""

    def make(client: Client, _vocab_size: int) -> Any:
        request = client.prompt("Hello")
        for name, value in values.items():
            if isinstance(value, list):
                getattr(request.sampling, name).extend(value)
            elif isinstance(value, dict):
                getattr(request.sampling, name).update(value)
            else:
                setattr(request.sampling, name, value)
        return request

    return make


def of_ids(*ids: int) -> Make:
    """A request with a prompt of token ids; negative ones count from the vocabulary's end."""

    def make(client: Client, vocab_size: int) -> Any:
        request = inference_pb2.GenerateRequest(model=client.model)
        # Set also where there are none: an empty list, not the lack of one.
        request.token_ids.SetInParent()
        request.token_ids.ids.extend(
            token_id if token_id >= 0 else vocab_size - token_id - 1 for token_id in ids
        )
        return request

    return make


def beyond(name: str) -> Make:
    """A request with an id at the vocabulary's end among its sampling values."""

    def make(client: Client, vocab_size: int) -> Any:
        value: Any = [1, vocab_size] if name == "stop_token_ids" else {1: 1.0, vocab_size: 1.0}
        return sampled(**{name: value})(client, vocab_size)

    return make


def named(name: str) -> Make:
    """A chat with an argument of this name for its template."""

    def make(client: Client, _vocab_size: int) -> Any:
        request = client.chat("Hello")
        request.template_arguments.values.fields[name].string_value = "x"
        return request

    return make


def argued(value: float) -> Make:
    """A chat with this number among the values for its template."""

    def make(client: Client, _vocab_size: int) -> Any:
        request = client.chat("Hello")
        deep = request.template_arguments.values.fields["deep"].list_value
        deep.values.add().number_value = value
        return request

    return make


FLOATS = (
    "temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty",
)  # fmt: skip
POISONS: dict[str, tuple[Make, str]] = {
    "empty text": (lambda client, _: client.prompt(""), "text"),
    "no token ids": (of_ids(), "token_ids.ids"),
    "no messages": (
        lambda client, _: inference_pb2.ChatRequest(model=client.model),
        "messages",
    ),
    **{
        f"{name} {value}{' clamped' if clamp else ''}": (
            sampled(**{name: value, "clamp": clamp}),
            f"sampling.{name}",
        )
        for name in FLOATS
        for value in (math.nan, math.inf, -math.inf)
        for clamp in (False, True)
    },
    **{
        f"logit_bias of {value}": (sampled(logit_bias={1: value}), "sampling.logit_bias[1]")
        for value in (math.nan, math.inf, -math.inf, 100.5)
    },
    **{
        f"a template argument of {value}": (argued(value), "template_arguments")
        for value in (math.nan, math.inf, -math.inf)
    },
    **{
        f"a template argument '{name}'": (named(name), "template_arguments")
        for name in sorted(RESERVED_TEMPLATE_ARGUMENTS)
    },
    "a repetition penalty beyond floats": (
        sampled(repetition_penalty=1e-38),
        "sampling.repetition_penalty",
    ),
    "logit_bias of a foreign id": (beyond("logit_bias"), "sampling.logit_bias"),
    "logit_bias of a huge id": (
        sampled(logit_bias={2**32 - 1: 1.0}),
        "sampling.logit_bias",
    ),
    "a huge limit": (sampled(max_tokens=2**31 - 1), "sampling.max_tokens"),
    "a negative limit": (sampled(max_tokens=-1), "sampling.max_tokens"),
    "too many answers": (sampled(n=17), "sampling.n"),
    "a huge top_k": (sampled(top_k=2**31 - 1), "sampling.top_k"),
    "a negative top_k": (sampled(top_k=-1), "sampling.top_k"),
    "a minimum above the limit": (sampled(min_tokens=5, max_tokens=4), "sampling.min_tokens"),
    "an empty stop string": (sampled(stop=[""]), "sampling.stop[0]"),
    "a huge cache salt": (lambda client, _: client.prompt("a", cache_salt="s" * 300), "cache_salt"),
}
STOP_IDS: dict[str, tuple[Make, str]] = {
    "a foreign stop id": (beyond("stop_token_ids"), "sampling.stop_token_ids"),
    "a huge stop id": (sampled(stop_token_ids=[2**32 - 1]), "sampling.stop_token_ids"),
}
IDS: dict[str, tuple[Make, str]] = {
    "the first foreign id": (of_ids(1, -1), "token_ids"),
    "a foreign id": (of_ids(1, -1_000), "token_ids"),
    "a huge id": (of_ids(2**32 - 1), "token_ids"),
    "an id that is negative in 32 bits": (of_ids(2**31), "token_ids"),
}

ODD_CALLER_IDS = (
    "req-1", "req-10", "req-1", "req", "r", "HEALTH_CHECK", "0" * 32, "0" * 31, "", "a" * 128,
    "a" * 129, "*", "../..", "None",
)  # fmt: skip


async def assert_refused(client: Client, lent: LentEngine, make: Make, field: str) -> None:
    """Asks, is refused by the field's name, and nothing has reached the engine."""
    num_before = len(lent.requests)
    request = make(client, lent.info.vocab_size)
    is_chat = isinstance(request, inference_pb2.ChatRequest)
    call = client.inference.Chat(request) if is_chat else client.inference.Generate(request)
    failure = await failure_of(call)
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.reason == "INVALID_REQUEST"
    assert set(failure.fields) == {field}
    assert len(lent.requests) == num_before


class EngineIds:
    """What callers call their requests is no concern of the engine."""

    async def test_engine_ids_are_our_own(self, client: Client, lent: LentEngine) -> None:
        """Whatever callers send as ids, also twice, the engine gets 32 hex digits, each its own."""
        lent.requests.clear()
        request = client.prompt("Hello")
        request.sampling.max_tokens = 1
        async with asyncio.timeout(HANG_S):
            answers = await asyncio.gather(
                *(
                    collect(
                        client.inference.Generate(request, metadata=(("x-request-id", caller_id),))
                    )
                    for caller_id in ODD_CALLER_IDS
                )
            )
        assert all(answer.finished for answer in answers)
        ids = [reached.request_id for reached in lent.requests]
        assert all(re.fullmatch("[0-9a-f]{32}", engine_id) for engine_id in ids)
        assert len(set(ids)) == len(ODD_CALLER_IDS)


class Poison(EngineIds):
    """What a real engine is kept from. A subclass supplies `client` and `lent`."""

    @pytest.fixture(autouse=True)
    async def still_serves(self, client: Client, lent: LentEngine) -> Any:
        """Behind every test the engine tells of itself, and serves."""
        yield
        async with asyncio.timeout(HANG_S):
            assert (await lent.status()).num_running == 0
            answer = await collect(client.inference.Chat(client.chat("What is 1 + 1?")))
        assert answer.finished.usage.num_completion_tokens > 0

    @pytest.mark.parametrize(("make", "field"), IDS.values(), ids=IDS)
    async def test_id_is_refused(
        self, client: Client, lent: LentEngine, make: Make, field: str
    ) -> None:
        """A prompt of ids that the vocabulary lacks is refused, and the engine lives."""
        await assert_refused(client, lent, make, field)

    async def test_sampling_is_refused(self, client: Client, lent: LentEngine) -> None:
        """Everything that the front refuses by itself is refused with this engine, too."""
        for make, field in POISONS.values():
            await assert_refused(client, lent, make, field)

    async def test_prompt_over_context(self, client: Client, lent: LentEngine) -> None:
        """A prompt as long as the context is refused with both numbers."""
        num_before = len(lent.requests)
        length = lent.info.context_length
        request = inference_pb2.GenerateRequest(model=client.model)
        request.token_ids.ids.extend([5] * length)
        failure = await failure_of(client.inference.Generate(request))
        assert failure.reason == "CONTEXT_TOO_LONG"
        assert failure.metadata == {"limit": str(length), "actual": str(length)}
        assert len(lent.requests) == num_before

    async def test_limit_beyond_context(self, client: Client, lent: LentEngine) -> None:
        """A limit beyond the context is cut to it before the engine sees it."""
        request = client.prompt("Hello")
        request.sampling.max_tokens = 4_096
        request.sampling.stop.extend("aeiou ,.\n")  # it ends at once all the same
        answer = await collect(client.inference.Generate(request))
        (reached,) = lent.requests[-1:]
        room = lent.info.context_length - len(reached.prompt.token_ids)
        assert reached.params.max_tokens == answer.started.max_tokens == room

    async def test_abort_of_one_is_of_no_other(self, client: Client) -> None:
        """Requests whose callers' ids begin alike are aborted one by one."""
        request = client.prompt("Once upon a time, in a small village by the sea,")
        request.sampling.max_tokens = 40
        request.sampling.ignore_eos = True
        async with asyncio.timeout(HANG_S):
            alone = await collect(client.inference.Generate(request))
            calls = {
                caller_id: client.inference.Generate(
                    request, metadata=(("x-request-id", caller_id),)
                )
                for caller_id in ("req-1", "req-10", "req-100", "req-11", "req")
            }
            for call in calls.values():
                assert (await call.read()).WhichOneof("event") == "started"
            for caller_id in ("req", "req-1"):
                calls.pop(caller_id).cancel()
            answers = await asyncio.gather(*(collect(call) for call in calls.values()))
        assert [answer.text for answer in answers] == [alone.text] * 3
        reasons = {answer.choice_finished.finish_reason for answer in answers}
        assert reasons == {events_pb2.FINISH_REASON_LENGTH}

    @pytest.mark.parametrize("text", ["\0", "a\0b", "\ufffd", "\U0010ffff", "\u202e<|im_end|>\r"])
    async def test_odd_text_is_served(self, client: Client, text: str) -> None:
        """Text of characters that nobody types is a prompt, a message and a stop string."""
        prompt = client.prompt(text)
        chat = client.chat(text)
        for request, method in ((prompt, "Generate"), (chat, "Chat")):
            request.sampling.max_tokens = 2
            request.sampling.stop.append(text)
            answer = await collect(getattr(client.inference, method)(request))
            assert answer.started.num_prompt_tokens > 0

    async def test_half_a_character_is_served(self, client: Client, lent: LentEngine) -> None:
        """A prompt of ids that ends, or begins, inside a character is a prompt all the same."""
        request = client.prompt("🦊")
        request.sampling.max_tokens = 1
        await collect(client.inference.Generate(request))
        ids = lent.requests[-1].prompt.token_ids
        assert len(ids) > 1
        for half in (ids[:1], ids[1:], (*ids, *ids[:1])):
            request = inference_pb2.GenerateRequest(model=client.model)
            request.token_ids.ids.extend(half)
            request.sampling.max_tokens = 4
            answer = await collect(client.inference.Generate(request))
            assert answer.finished.usage.num_completion_tokens > 0
