"""What keys may do, over a real socket: scopes, limits of requests, and rotation."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import grpc
import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs
from tokenwire.generated.tokenwire.v1 import inference_pb2
from tokenwire.server.access import access as access_module
from tokenwire.server.access.access import Access
from tokenwire.server.access.call_names import ANY
from tokenwire.server.access.key_ring import KeyRing
from tokenwire.server.contract.errors import Unauthenticated
from tokenwire.server.models.model_state import State

from ..fronts import Client, collect, failure_of, scrape, start_front, wait_for_state
from ..key_files import replace_file, write_keys
from ..scripted_engine import ScriptedEngine, ScriptedLauncher, ScriptedPreparation

A, B = "test/a", "test/b"


def bearer(text: str) -> tuple[tuple[str, str], ...]:
    """The metadata of a call with a key."""
    return (("authorization", f"Bearer {text}"),)


def short(client: Client, **fields: Any) -> inference_pb2.ChatRequest:
    """A request for one token."""
    request = client.chat("go", **fields)
    request.sampling.max_tokens = 1
    return request


async def test_scope_of_models(tmp_path: Path) -> None:
    """Another model is refused, an unknown one like it, and ListModels shows what it may use."""
    path = tmp_path / "keys.toml"
    texts = write_keys(path, one=f'models = ["{A}", "test/gone"]', all="")
    engines = {A: ScriptedEngine(), B: ScriptedEngine()}
    for engine in engines.values():
        engine.allow(10)
    prepare = ScriptedPreparation(
        {name: ScriptedLauncher(engine) for name, engine in engines.items()}
    ).prepare
    async with start_front(
        prepare, wait=False, LLM_ALLOWED_MODELS=f"{A},{B}", LLM_API_KEYS_FILE=str(path)
    ) as client:
        await wait_for_state(client.app, State.SERVING, model=A)
        await wait_for_state(client.app, State.SERVING, model=B)
        one, everything = bearer(texts["one"]), bearer(texts["all"])
        await collect(client.inference.Chat(short(client.on(A)), metadata=one))
        await collect(client.inference.Chat(short(client.on(B)), metadata=everything))
        for model in (B, "test/nowhere"):
            failure = await failure_of(client.inference.Chat(short(client.on(model)), metadata=one))
            assert failure.code is grpc.StatusCode.PERMISSION_DENIED
            assert failure.message == f"this key may not use model '{model}'"
        failure = await failure_of(
            client.inference.Chat(short(client.on(A), lora_adapter="french"), metadata=one)
        )
        assert failure.message == "this key may not use model 'french'"
        # In its scope and not here: told without the names of others.
        failure = await failure_of(
            client.inference.Chat(short(client.on("test/gone")), metadata=one)
        )
        assert failure.reason == "UNSUPPORTED_MODEL"
        assert A in failure.message
        assert B not in failure.message
        for metadata, models in ((one, [A]), (everything, [A, B])):
            answer = await client.inference.ListModels(
                inference_pb2.ListModelsRequest(), metadata=metadata
            )
            assert [model.id for model in answer.models] == models


async def test_in_flight_counts_a_request_until_its_end(tmp_path: Path) -> None:
    """The place of a request that is cancelled is free when the engine let go, not before."""
    path = tmp_path / "keys.toml"
    texts = write_keys(path, small="max_in_flight = 1", other="")
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare, LLM_API_KEYS_FILE=str(path)) as client:
        small = bearer(texts["small"])
        running = client.inference.Chat(client.chat("go"), metadata=small)
        await engine.wait_until(running=1)
        failure = await failure_of(client.inference.Chat(short(client), metadata=small))
        assert (failure.reason, failure.retry_after_s) == ("QUOTA_EXCEEDED", 5)
        assert failure.metadata == {"limit": "1", "actual": "1"}
        # Others have places of their own.
        other = client.inference.Chat(client.chat("go"), metadata=bearer(texts["other"]))
        await engine.wait_until(running=2)
        running.cancel()
        other.cancel()
        await engine.wait_until(running=0, aborted=2)
        engine.allow(1)
        answer = await collect(client.inference.Chat(short(client), metadata=small))
        assert answer.finished


async def test_tokens_are_counted_from_usage(tmp_path: Path) -> None:
    """Prompt and answer are paid at the end; then the next request waits, and is told how long."""
    path = tmp_path / "keys.toml"
    texts = write_keys(path, thrifty="tokens_per_minute = 2")
    engine = ScriptedEngine()
    engine.allow(100)
    async with start_front(
        ScriptedLauncher(engine).prepare,
        LLM_API_KEYS_FILE=str(path),
        LLM_API_KEYS_OPEN="metrics",
    ) as client:
        thrifty = bearer(texts["thrifty"])
        request = client.chat("go")
        request.sampling.max_tokens = 8
        answer = await collect(client.inference.Chat(request, metadata=thrifty))
        num_prompt_tokens = answer.finished.usage.num_prompt_tokens
        num_tokens = num_prompt_tokens + answer.finished.usage.num_completion_tokens
        failure = await failure_of(client.inference.Chat(request, metadata=thrifty))
        lines = await scrape(client)
    assert failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    # Two a minute come back: nobody has to wait longer, and hardly any shorter.
    assert failure.retry_after_s is not None
    assert 60 < failure.retry_after_s <= (num_tokens - 1) * 30
    assert failure.trailers["grpc-retry-pushback-ms"] == str(failure.retry_after_s * 1000)
    tokens = 'llm_api_key_tokens_total{gen_ai_token_type="%s",key="thrifty"} %s'
    assert tokens % ("input", float(num_prompt_tokens)) in lines
    assert tokens % ("output", 8.0) in lines
    assert 'llm_api_key_requests_total{key="thrifty",outcome="finished"} 1.0' in lines
    assert 'llm_api_key_refusals_total{key="thrifty",reason="QUOTA_EXCEEDED"} 1.0' in lines


async def test_rotation_and_a_broken_file_while_serving(tmp_path: Path) -> None:
    """Keys come and go without a restart; what breaks changes nothing, and is counted.

    Takes some seconds: the file is read once in each.
    """
    path = tmp_path / "keys.toml"
    first = write_keys(path, alice="")["alice"]
    async with start_front(
        ScriptedLauncher(ScriptedEngine()).prepare,
        LLM_API_KEYS_FILE=str(path),
        LLM_API_KEYS_OPEN="metrics",
    ) as client:

        async def wait_for_code(text: str, code: grpc.StatusCode) -> None:
            """Asks until the answer is this one."""
            request = inference_pb2.ListModelsRequest()
            async with asyncio.timeout(45):
                while (
                    await client.inference.ListModels(request, metadata=bearer(text)).code() != code
                ):
                    pass

        await wait_for_code(first, grpc.StatusCode.OK)
        second = write_keys(path, alice="")["alice"]
        await wait_for_code(second, grpc.StatusCode.OK)
        await wait_for_code(first, grpc.StatusCode.UNAUTHENTICATED)
        assert "llm_api_keys_reload_failures_total 0.0" in await scrape(client)
        replace_file(path, "[keys.alice")
        async with asyncio.timeout(45):
            while "llm_api_keys_reload_failures_total 1.0" not in await scrape(client):
                pass
        await wait_for_code(second, grpc.StatusCode.OK)
        third = write_keys(path, alice="")["alice"]
        await wait_for_code(third, grpc.StatusCode.OK)


async def test_names_are_logged_and_keys_never(tmp_path: Path) -> None:
    """A refusal's line has the name and the request's id; no line has a key's text, or a part."""
    path = tmp_path / "keys.toml"
    texts = write_keys(path, alice='calls = ["ListModels"]')
    with capture_logs(processors=[merge_contextvars]) as logs:
        async with start_front(
            ScriptedLauncher(ScriptedEngine()).prepare, LLM_API_KEYS_FILE=str(path)
        ) as client:
            metadata = (*bearer(texts["alice"]), ("x-request-id", "r-1"))
            await failure_of(client.inference.Chat(short(client), metadata=metadata))
            wrong = texts["alice"][:-4] + "AAAA"
            await failure_of(client.inference.Chat(short(client), metadata=bearer(wrong)))
    refusals = [log for log in logs if log["event"] == "access_refused"]
    assert [(log["reason"], log["method"]) for log in refusals] == [
        ("PERMISSION_DENIED", "Chat"),
        ("UNAUTHENTICATED", "Chat"),
    ]
    assert refusals[0]["key"] == "alice"
    assert "key" not in refusals[1], "nobody knows whose it is"
    assert refusals[0]["request_id"] == "r-1"
    for refusal in refusals:
        assert refusal["peer"].startswith(("ipv4:", "ipv6:"))
    assert "tw_" not in repr(logs)
    assert texts["alice"][20:40] not in repr(logs)


async def test_without_a_key_nobody_may_call(tmp_path: Path) -> None:
    """An empty table starts, refuses everyone, and is warned of."""
    path = tmp_path / "keys.toml"
    path.write_text("[keys]\n")
    with capture_logs() as logs:
        async with start_front(
            ScriptedLauncher(ScriptedEngine()).prepare, LLM_API_KEYS_FILE=str(path)
        ) as client:
            for metadata in ((), bearer("tw_anything")):
                failure = await failure_of(client.inference.Chat(short(client), metadata=metadata))
                assert failure.code is grpc.StatusCode.UNAUTHENTICATED
    warnings = [log for log in logs if log["event"] == "no_keys_in_force"]
    assert [log["log_level"] for log in warnings] == ["warning"]


async def test_without_a_file_everyone_may_call() -> None:
    """Keys are optional, and a header that looks like one is nobody's business then."""
    engine = ScriptedEngine()
    engine.allow(1)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        answer = await collect(client.inference.Chat(short(client), metadata=bearer("anything")))
    assert answer.finished


async def test_a_stranger_sends_no_message(tmp_path: Path) -> None:
    """A call without a key is refused before its message is read: more of them hold up nobody."""
    path = tmp_path / "keys.toml"
    write_keys(path, alice="")
    async with start_front(
        ScriptedLauncher(ScriptedEngine()).prepare, LLM_API_KEYS_FILE=str(path)
    ) as client:
        call = client.channel.stream_stream("/tokenwire.v1.InferenceService/Chat")()
        assert await call.code() is grpc.StatusCode.UNAUTHENTICATED  # and nothing was written


def test_a_key_at_its_end_and_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the second before its time a key is one, from that on it is none."""
    path = tmp_path / "keys.toml"
    texts = write_keys(path, late="expires = 2030-01-01T00:00:00Z")
    access = Access(KeyRing(path, ["metrics"]))
    end = datetime(2030, 1, 1, tzinfo=UTC)

    class Now(datetime):
        at = end - timedelta(seconds=1)

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            assert tz is UTC
            return cls.at

    monkeypatch.setattr(access_module, "datetime", Now)
    assert access.check(ANY, bearer(texts["late"])) == "late"
    Now.at = end
    with pytest.raises(Unauthenticated, match="the API key 'late' has expired"):
        access.check(ANY, bearer(texts["late"]))
