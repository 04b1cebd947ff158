"""What the service promises over gRPC and HTTP, whatever the engine behind it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import grpc
import pytest
from tokenwire.generated.tokenwire.v1 import chat_pb2, events_pb2, inference_pb2, models_pb2

from ..server.fronts import CHAT, GENERATE, Client, collect, failure_of

QUESTION = "What is the capital of France?"
NUM_CLIENTS = 16
NUM_TOKENS = 32
HANG_S = 240  # a slow machine that also does something else


async def wait_engine_idle(client: Client) -> None:
    """Waits until the engine's own count of running requests is 0."""
    engine = next(iter(client.app.models)).engine
    async with asyncio.timeout(HANG_S):
        # The engine tells its count only when asked.
        while (await engine.status()).num_running:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def _messages(client: Client, *messages: chat_pb2.Message) -> inference_pb2.ChatRequest:
    return inference_pb2.ChatRequest(model=client.model, messages=messages)


def _ids(client: Client, ids: list[int]) -> inference_pb2.GenerateRequest:
    return inference_pb2.GenerateRequest(
        model=client.model, token_ids=inference_pb2.TokenIds(ids=ids)
    )


class Acceptance:
    """Subclasses supply `client`, a client of a front, and `http`, a session with its edge."""

    async def test_question_over_grpc(self, client: Client) -> None:
        """The capital of France is Paris, on Chat over gRPC."""
        request = client.chat(QUESTION)
        request.sampling.max_tokens = 24
        answer = await collect(client.inference.Chat(request))
        assert "Paris" in answer.text
        assert answer.choice_finished.finish_reason == events_pb2.FINISH_REASON_EOS

    async def test_choices_with_logprobs(self, client: Client) -> None:
        """Two greedy choices say the same, streamed and as one message, each token with bytes."""
        model = (await client.list_models())[client.model]
        assert model.capabilities.logprobs
        request = client.chat(QUESTION)
        request.sampling.max_tokens = 24
        request.sampling.n = 2
        request.sampling.logprobs = 1
        streamed = ["", ""]
        async for response in client.inference.Chat(request):
            for delta in response.deltas.deltas:
                streamed[delta.choice] += delta.text.text
        request.delivery = events_pb2.DELIVERY_FINAL
        choices = (await client.unary()(request)).finished.choices
        assert [choice.text for choice in choices] == streamed
        assert streamed[0] == streamed[1] == "The capital of France is Paris."
        for choice in choices:
            assert b"".join(each.text for each in choice.logprobs) == choice.text.encode()
            assert [each.top[0].token_id for each in choice.logprobs] == [
                each.token_id for each in choice.logprobs
            ]

    async def test_more_logprobs_than_one_message_takes(self, client: Client) -> None:
        """A whole answer that may be too large is refused before it is generated."""
        request = client.chat(QUESTION, delivery=events_pb2.DELIVERY_FINAL)
        request.sampling.max_tokens = 500
        request.sampling.n = 16
        request.sampling.logprobs = 20
        failure = await failure_of(client.inference.Chat(request))
        assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
        assert failure.fields == ["sampling.logprobs"]

    async def test_question_over_http(self, client: Client, http: aiohttp.ClientSession) -> None:
        """And on /api/chat."""
        body = {
            "model": client.model,
            "messages": [{"role": "user", "content": QUESTION}],
            "temperature": 0,
            "max_tokens": 24,
        }
        async with http.post("/api/chat", json=body) as response:
            answer = await response.json()
        assert response.status == 200
        assert "Paris" in answer["message"]["content"]
        assert answer["finish_reason"] == "eos"

    async def test_question_over_sse(self, client: Client, http: aiohttp.ClientSession) -> None:
        """And on /api/chat/stream, read line by line as existing callers do."""
        body = {
            "model": client.model,
            "messages": [{"role": "user", "content": QUESTION}],
            "temperature": 0,
            "max_tokens": 24,
        }
        text = ""
        async with http.post("/api/chat/stream", json=body) as response:
            assert response.status == 200
            async for line in response.content:
                if line.startswith(b"data: "):
                    event = json.loads(line.removeprefix(b"data: "))
                    assert "error" not in event
                    text += event.get("content", "")
        assert "Paris" in text

    async def test_unary_stub_gets_one_message(self, client: Client) -> None:
        """A unary stub with delivery FINAL gets the whole answer, equal to the streamed one."""
        request = client.chat(QUESTION)
        request.sampling.max_tokens = 24
        streamed = await collect(client.inference.Chat(request))
        request.delivery = events_pb2.DELIVERY_FINAL
        final = (await client.unary()(request)).finished
        assert final.choices[0].text == streamed.text
        assert final.choices[0].finished == streamed.choice_finished
        assert final.usage.num_completion_tokens == streamed.finished.usage.num_completion_tokens

    async def test_sixteen_clients_at_once(self, client: Client) -> None:
        """16 clients with 32 tokens each: all answers whole, none mixed with another."""

        async def ask(number: int) -> str:
            request = client.prompt(f"{number} {number} {number} {number} {number} {number}")
            request.sampling.max_tokens = NUM_TOKENS
            request.sampling.ignore_eos = True
            answer = await collect(client.inference.Generate(request))
            assert answer.finished.usage.num_completion_tokens == NUM_TOKENS
            assert answer.choice_finished.finish_reason == events_pb2.FINISH_REASON_LENGTH
            return answer.text

        async with asyncio.timeout(HANG_S):
            texts = await asyncio.gather(*(ask(100 + number) for number in range(NUM_CLIENTS)))
        for number, text in enumerate(texts):
            own = str(100 + number)
            others = {str(100 + other) for other in range(NUM_CLIENTS)} - {own}
            # A prompt of one repeated number is continued with that number.
            assert own in text
            assert text.count(own) > max(text.count(other) for other in others)

    async def test_leaving_during_decode_frees_the_engine(self, client: Client) -> None:
        """A client that leaves mid-stream: the engine's count of running requests returns to 0."""
        request = client.chat("Tell me a very long story.")
        request.sampling.max_tokens = 400
        request.sampling.ignore_eos = True
        call = client.inference.Chat(request)
        for _ in range(3):
            await call.read()
        call.cancel()
        await wait_engine_idle(client)

    async def test_leaving_during_prefill_frees_the_engine(self, client: Client) -> None:
        """So does one that leaves before the first token."""
        request = client.prompt("word " * 700)
        request.sampling.max_tokens = 100
        call = client.inference.Generate(request)
        engine = next(iter(client.app.models)).engine
        async with asyncio.timeout(HANG_S):
            while not (await engine.status()).num_running:  # noqa: ASYNC110 - it tells when asked
                await asyncio.sleep(0.005)
        call.cancel()
        await wait_engine_idle(client)

    async def test_leaving_over_http_frees_the_engine(
        self, client: Client, http: aiohttp.ClientSession
    ) -> None:
        """A browser that closes the page is a client that leaves."""
        body = {
            "model": client.model,
            "messages": [{"role": "user", "content": "Tell me a very long story."}],
            "temperature": 0,
            "max_tokens": 400,
        }
        async with http.post("/api/chat/stream", json=body) as response:
            await response.content.readline()
            response.close()
        await wait_engine_idle(client)

    async def test_cached_tokens_are_told(self, client: Client) -> None:
        """A prompt that was just read is found in the prefix cache, and usage says so."""
        request = client.prompt("The quick brown fox jumps over the lazy dog. " * 20)
        request.sampling.max_tokens = 1
        await collect(client.inference.Generate(request))
        answer = await collect(client.inference.Generate(request))
        usage = answer.finished.usage
        assert usage.num_cached_prompt_tokens > 0.6 * usage.num_prompt_tokens

    async def test_models_are_listed(self, client: Client, http: aiohttp.ClientSession) -> None:
        """ListModels and /api/llms tell what serves."""
        models = (await client.inference.ListModels(inference_pb2.ListModelsRequest())).models
        assert [model.state for model in models] == [models_pb2.MODEL_STATE_SERVING]
        assert models[0].context_length > 0
        assert models[0].capabilities.chat
        async with http.get("/api/llms") as response:
            assert [model["id"] for model in await response.json()] == [client.model]

    @pytest.mark.parametrize(
        ("make", "field", "reason"),
        [
            (lambda c: c.prompt(""), "text", "INVALID_REQUEST"),
            (_messages, "messages", "INVALID_REQUEST"),
            (lambda c: _messages(c, chat_pb2.Message(role=2)), None, None),
            (lambda c: c.prompt("word " * 5000), "text", "CONTEXT_TOO_LONG"),
            (lambda c: c.chat("word " * 5000), "messages", "CONTEXT_TOO_LONG"),
            (lambda c: _ids(c, []), "token_ids.ids", "INVALID_REQUEST"),
            (lambda c: _ids(c, [10**9]), "token_ids", "INVALID_REQUEST"),
            (lambda c: _ids(c, [2**32 - 1]), "token_ids", "INVALID_REQUEST"),
            (lambda c: c.prompt("a", suffix="b"), "suffix", "INVALID_REQUEST"),
        ],
    )
    async def test_bad_input_names_its_field(
        self, client: Client, make: Any, field: str | None, reason: str | None
    ) -> None:
        """Bad input is INVALID_ARGUMENT with the field's name, and the engine lives on."""
        request = make(client)
        is_chat = isinstance(request, inference_pb2.ChatRequest)
        request.sampling.max_tokens = 2
        stub = client.unary(CHAT if is_chat else GENERATE)
        request.delivery = events_pb2.DELIVERY_FINAL
        async with asyncio.timeout(HANG_S):
            if reason is None:
                await stub(request)  # empty content is a template's own matter
            else:
                failure = await failure_of(stub(request))
                assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
                assert failure.reason == reason
                assert field is not None
                assert field in [name.partition("[")[0] for name in failure.fields]
            good = client.chat("hi", delivery=events_pb2.DELIVERY_FINAL)
            good.sampling.max_tokens = 1
            await client.unary()(good)

    async def test_context_error_has_both_numbers(self, client: Client) -> None:
        """A prompt over the context is told with the limit and its own size."""
        failure = await failure_of(client.inference.Generate(client.prompt("word " * 5000)))
        engine = next(iter(client.app.models)).engine
        assert failure.metadata["limit"] == str(engine.info.context_length)
        assert int(failure.metadata["actual"]) >= 5000
        assert failure.metadata["actual"] in failure.message

    @pytest.mark.parametrize(
        "body",
        [
            b"{",
            b"\xff\xfe",
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b'{"model": "MODEL", "prompt": "x", "temperature": NaN}',
            b'{"model": "MODEL", "prompt": 5}',
            b'{"model": "MODEL", "prompt": ""}',
            b'{"model": "MODEL", "prompt": "x", "max_tokens": "many"}',
            b'{"model": "MODEL", "prompt": "x", "stop": 5}',
            b'{"model": "MODEL"}',
            b'{"prompt": "x"}',
        ],
        ids=lambda body: body[:40].decode(errors="replace"),
    )
    async def test_bad_bodies_are_400(
        self, client: Client, http: aiohttp.ClientSession, body: bytes
    ) -> None:
        """Over HTTP every bad body is a 400 in the documented shape, never a 500 or a hang."""
        body = body.replace(b"MODEL", client.model.encode())
        headers = {"Content-Type": "application/json"}
        async with (
            asyncio.timeout(HANG_S),
            http.post("/api/generate", data=body, headers=headers) as response,
        ):
            answer = await response.json()
        assert response.status == 400
        assert answer["code"] == "BAD_REQUEST"
        assert answer["error"].startswith("Bad request: ")

    async def test_unknown_model_over_http(self, http: aiohttp.ClientSession) -> None:
        """An unknown model is 400 UNSUPPORTED_MODEL on /api."""
        body = {"model": "nope", "prompt": "x"}
        async with http.post("/api/generate", json=body) as response:
            answer = await response.json()
        assert response.status == 400
        assert answer["code"] == "UNSUPPORTED_MODEL"

    async def test_stop_strings_over_http(
        self, client: Client, http: aiohttp.ClientSession
    ) -> None:
        """`stop` is honoured, and no part of it reaches the text."""
        body = {
            "model": client.model,
            "messages": [{"role": "user", "content": QUESTION}],
            "temperature": 0,
            "max_tokens": 24,
            "stop": ["France is Par"],
        }
        async with http.post("/api/chat", json=body) as response:
            answer = await response.json()
        assert answer["message"]["content"] == "The capital of "
        assert answer["finish_reason"] == "stop"
