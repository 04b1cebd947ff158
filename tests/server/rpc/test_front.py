"""The gRPC face over a real socket, with an engine that a test steps by hand."""

from __future__ import annotations

import asyncio
import urllib.request

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2
from tokenwire.generated.tokenwire.v1 import events_pb2, inference_pb2, models_pb2
from tokenwire.server.contract.errors import GenerationFailed, ModelLoadFailed
from tokenwire.server.models.model_state import State

from ..fronts import (
    CHAT,
    GENERATE,
    check,
    collect,
    connect,
    failure_of,
    start_front,
    wait_for_state,
)
from ..scripted_engine import MODEL_ID, ScriptedEngine, ScriptedLauncher

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def test_stream_has_the_documented_order() -> None:
    """A stream is Started, deltas, the choice's end and Finished, with rising positions."""
    engine = ScriptedEngine()
    engine.allow(100)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = client.chat("one two three")
        request.sampling.max_tokens = 4
        answer = await collect(client.inference.Chat(request))
    assert answer.events[0] == "started"
    assert answer.events[-1] == "finished"
    assert answer.events.count("started") == answer.events.count("finished") == 1
    assert answer.text == "0 1 2 3 "
    assert answer.positions == sorted(answer.positions)
    assert answer.started.num_prompt_tokens == 3
    assert answer.started.max_tokens == 4
    assert answer.started.model_revision == "revision-1"
    assert answer.finished.usage.num_completion_tokens == 4
    assert answer.finished.timings.HasField("time_to_first_token")
    assert answer.choice_finished.finish_reason == events_pb2.FINISH_REASON_LENGTH


@pytest.mark.parametrize("method", [CHAT, GENERATE])
async def test_final_is_one_message_to_a_unary_stub(method: str) -> None:
    """With delivery FINAL a plain unary stub gets the whole answer in one message."""
    engine = ScriptedEngine()
    engine.allow(100)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        make = client.chat if method == CHAT else client.prompt
        request = make("one two", delivery=events_pb2.DELIVERY_FINAL)
        request.sampling.max_tokens = 3
        response = await client.unary(method)(request)
    assert response.WhichOneof("event") == "finished"
    assert response.finished.choices[0].text == "0 1 2 "
    assert response.finished.started.num_prompt_tokens == 2
    assert response.finished.usage.num_completion_tokens == 3


async def test_slow_reader_gets_everything_in_few_messages() -> None:
    """What is generated while a client does not read arrives whole, merged."""
    engine = ScriptedEngine(context_length=2_000)
    async with start_front(
        ScriptedLauncher(engine).prepare, LLM_MAX_TOKENS_LIMIT="1000", LLM_DEFAULT_MAX_TOKENS="9"
    ) as client:
        request = client.chat("go")
        request.sampling.max_tokens = 1_000
        call = client.inference.Chat(request)
        engine.allow(1)
        await call.read()  # Started
        engine.allow(999)
        await engine.wait_until(running=0)
        answer = await collect(call)
    assert answer.text == "".join(f"{number} " for number in range(1_000))
    assert len(answer.events) < 1_000


async def test_request_id_is_echoed_or_made() -> None:
    """The caller's x-request-id comes back in metadata and events; an unfit one is replaced."""
    engine = ScriptedEngine()
    engine.allow(100)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = client.chat("go")
        request.sampling.max_tokens = 1
        call = client.inference.Chat(request, metadata=(("x-request-id", "abc-1"),))
        answer = await collect(call)
        assert dict(await call.initial_metadata())["x-request-id"] == "abc-1"
        assert answer.started.request_id == "abc-1"
        answer = await collect(
            client.inference.Chat(request, metadata=(("x-request-id", "x" * 129),))
        )
        assert len(answer.started.request_id) == 32
        request.model = "nope"
        failure = await failure_of(
            client.inference.Chat(request, metadata=(("x-request-id", "abc-2"),))
        )
        assert failure.request_id == failure.trailers["x-request-id"] == "abc-2"


async def test_unknown_model_is_not_found() -> None:
    """A model that is not served is NOT_FOUND, and the error tells what is."""
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        request = client.chat("go")
        request.model = "nope"
        failure = await failure_of(client.inference.Chat(request))
    assert failure.code is grpc.StatusCode.NOT_FOUND
    assert failure.reason == "UNSUPPORTED_MODEL"
    assert MODEL_ID in failure.message
    assert failure.retry_after_s is None


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


async def test_token_ids_are_sent_on_request_only() -> None:
    """Token ids travel where the request asks for them, and not otherwise."""
    engine = ScriptedEngine()
    engine.allow(100)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = client.chat("go", delivery=events_pb2.DELIVERY_FINAL)
        request.sampling.max_tokens = 3
        plain = await client.unary()(request)
        request.return_token_ids = True
        with_ids = await client.unary()(request)
    assert list(plain.finished.choices[0].token_ids) == []
    assert list(with_ids.finished.choices[0].token_ids) == [0, 1, 2]


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


async def test_time_limit_before_the_first_token() -> None:
    """A time limit that passes during prefill still gives Started and Finished."""
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        request = client.chat("go", time_limit=Duration(nanos=50_000_000))
        answer = await collect(client.inference.Chat(request))
    assert answer.events == ["started", "deltas", "finished"]


async def test_cancel_aborts_and_frees_the_slot() -> None:
    """A client that leaves aborts the engine's request, and the next one gets the slot."""
    engine = ScriptedEngine(max_running=1)
    engine.allow(1)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        call = client.inference.Chat(client.chat("go"))
        await call.read()
        call.cancel()
        await engine.wait_until(running=0)
        assert engine.num_aborted == 1
        engine.allow(1)
        request = client.chat("go")
        request.sampling.max_tokens = 1
        assert (await collect(client.inference.Chat(request))).text == "0 "


async def test_deadline_aborts() -> None:
    """A deadline that passes ends the call with DEADLINE_EXCEEDED and aborts the engine."""
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        failure = await failure_of(client.inference.Chat(client.chat("go"), timeout=0.3))
        await engine.wait_until(running=0)
    assert failure.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert engine.num_aborted == 1


async def test_lost_connection_aborts() -> None:
    """A connection that goes away aborts every call on it."""
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        async with connect(client.app) as other:
            calls = [other.inference.Chat(other.chat("go")) for _ in range(2)]
            await engine.wait_until(running=2)
        await engine.wait_until(running=0)
        del calls
    assert engine.num_aborted == 2


async def test_full_server_refuses_with_retry() -> None:
    """With slots and queue full a call is refused with AT_CAPACITY and a time to retry."""
    engine = ScriptedEngine(max_running=1)
    async with start_front(ScriptedLauncher(engine).prepare, LLM_MAX_QUEUED_REQUESTS="0") as client:
        call = client.inference.Chat(client.chat("go"))
        await engine.wait_until(running=1)
        failure = await failure_of(client.inference.Chat(client.chat("go")))
        assert await check(client, "readiness") == SERVING
        call.cancel()
    assert failure.code is grpc.StatusCode.UNAVAILABLE
    assert failure.reason == "AT_CAPACITY"
    assert failure.retry_after_s == 5
    assert failure.trailers["grpc-retry-pushback-ms"] == "5000"


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


async def test_death_of_the_engine_ends_streams_and_restarts() -> None:
    """Streams end with ENGINE_LOST, health tells it, and the next engine serves."""
    first, second = ScriptedEngine(), ScriptedEngine()
    launcher = ScriptedLauncher(first, second)
    async with start_front(launcher.prepare) as client:
        watch = client.health.Watch(health_pb2.HealthCheckRequest(service="readiness"))
        assert (await watch.read()).status == SERVING
        call = client.inference.Chat(client.chat("go"))
        await first.wait_until(running=1)
        launcher.gate.clear()
        first.die()
        failure = await failure_of(call)
        assert failure.code is grpc.StatusCode.UNAVAILABLE
        assert failure.reason == "ENGINE_LOST"
        assert failure.retry_after_s == 5
        assert (await watch.read()).status == NOT_SERVING
        refused = await failure_of(client.inference.Chat(client.chat("go")))
        assert refused.reason == "MODEL_LOADING"
        assert await check(client, "liveness") == SERVING
        launcher.gate.set()
        assert (await watch.read()).status == SERVING
        second.allow(1)
        request = client.chat("go")
        request.sampling.max_tokens = 1
        assert (await collect(client.inference.Chat(request))).text == "0 "
        assert first.is_closed
        watch.cancel()


async def test_failure_inside_the_engine_is_told_in_its_own_words() -> None:
    """A failure that the engine foresees is GENERATION_FAILED."""
    engine = ScriptedEngine()
    engine.failure = GenerationFailed("the engine ended the request with an error")
    engine.allow(1)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        failure = await failure_of(client.inference.Chat(client.chat("go")))
    assert failure.code is grpc.StatusCode.INTERNAL
    assert failure.reason == "GENERATION_FAILED"


async def test_unforeseen_failure_tells_nothing_but_the_id() -> None:
    """What nobody foresaw is INTERNAL in general words: no class, no text of the exception."""
    engine = ScriptedEngine()
    engine.failure = ValueError("canary-text")
    engine.allow(1)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        failure = await failure_of(client.inference.Chat(client.chat("go")))
    assert failure.code is grpc.StatusCode.INTERNAL
    assert failure.reason == "INTERNAL"
    assert "canary" not in repr(failure)
    assert "ValueError" not in repr(failure)
    assert failure.request_id


async def test_undecodable_bytes_are_an_invalid_request() -> None:
    """Bytes that are no message are INVALID_ARGUMENT, and name no Python class."""
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        stub = client.unary(CHAT, serializer=lambda _: b"\xff\xff\xff")
        failure = await failure_of(stub(client.chat("go")))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "DecodeError" not in failure.message


async def test_loading_model_is_told_with_progress() -> None:
    """While a model loads, calls are refused with MODEL_LOADING and ListModels tells how far."""
    launcher = ScriptedLauncher(ScriptedEngine())
    launcher.gate.clear()
    async with start_front(launcher.prepare, wait=False) as client:
        reached = asyncio.Event()
        client.app.models.observe(lambda: reached.set() if launcher.num_launches else None)
        await reached.wait()
        models = (await client.inference.ListModels(inference_pb2.ListModelsRequest())).models
        assert models[0].state == models_pb2.MODEL_STATE_LOADING
        assert models[0].progress == "reading the script"
        assert models[0].progress_fraction == 0.5
        failure = await failure_of(client.inference.Chat(client.chat("go")))
        assert failure.reason == "MODEL_LOADING"
        assert await check(client, "readiness") == NOT_SERVING
        assert await check(client, MODEL_ID) == NOT_SERVING
        assert await check(client, "liveness") == SERVING
        launcher.gate.set()
        await wait_for_state(client.app, State.SERVING)
        assert await check(client, MODEL_ID) == SERVING


async def test_model_that_fails_to_load_is_told_with_the_reason() -> None:
    """A model that cannot be loaded leaves the front up and tells why, everywhere."""
    launcher = ScriptedLauncher(ModelLoadFailed("no config.json in its folder"))
    async with start_front(launcher.prepare, wait=False) as client:
        await wait_for_state(client.app, State.FAILED)
        failure = await failure_of(client.inference.Chat(client.chat("go")))
        models = (await client.inference.ListModels(inference_pb2.ListModelsRequest())).models
        assert await check(client, "readiness") == NOT_SERVING
    assert failure.code is grpc.StatusCode.FAILED_PRECONDITION
    assert failure.reason == "MODEL_LOAD_FAILED"
    assert "no config.json" in failure.message
    assert models[0].state == models_pb2.MODEL_STATE_FAILED
    assert models[0].failure == "no config.json in its folder"


async def test_engine_that_dies_while_it_is_restarted_is_tried_again() -> None:
    """A restart that fails is one more death: the model is loaded again, and serves."""
    first, second = ScriptedEngine(), ScriptedEngine()
    launcher = ScriptedLauncher(first, ModelLoadFailed("killed while it loaded"), second)
    async with start_front(launcher.prepare) as client:
        reached = asyncio.Event()
        client.app.models.observe(lambda: reached.set() if launcher.num_launches == 3 else None)
        first.die()
        async with asyncio.timeout(30):
            await reached.wait()
        await wait_for_state(client.app, State.SERVING)
        assert next(iter(client.app.models)).num_restarts == 2


async def test_unknown_health_name() -> None:
    """Check of an unknown name is NOT_FOUND; Watch says SERVICE_UNKNOWN and stays open."""
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        request = health_pb2.HealthCheckRequest(service="nope")
        failure = await failure_of(client.health.Check(request))
        assert failure.code is grpc.StatusCode.NOT_FOUND
        watch = client.health.Watch(request)
        first = await watch.read()
        assert first.status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        assert not watch.done()
        watch.cancel()


async def test_drain_finishes_what_runs_and_refuses_the_rest() -> None:
    """Draining: health first, watches end, running calls finish, new ones hear DRAINING."""
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        watch = client.health.Watch(health_pb2.HealthCheckRequest(service=""))
        await watch.read()
        request = client.chat("go")
        request.sampling.max_tokens = 2
        call = client.inference.Chat(request)
        await engine.wait_until(running=1)
        drain = asyncio.create_task(client.app.drain())
        assert (await watch.read()).status == NOT_SERVING
        assert await watch.read() is grpc.aio.EOF
        assert await check(client, "liveness") == SERVING
        failure = await failure_of(client.inference.Chat(client.chat("go")))
        assert failure.code is grpc.StatusCode.UNAVAILABLE
        assert failure.reason == "DRAINING"
        assert not drain.done()
        engine.allow(2)
        assert (await collect(call)).text == "0 1 "
        await drain


async def test_drain_ends_what_outlasts_it() -> None:
    """A call that outlasts the drain timeout ends with UNAVAILABLE and DRAINING."""
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare, LLM_DRAIN_TIMEOUT_S="0.05") as client:
        call = client.inference.Chat(client.chat("go"))
        await engine.wait_until(running=1)
        await client.app.drain()
        failure = await failure_of(call)
        await engine.wait_until(running=0)
    assert failure.code is grpc.StatusCode.UNAVAILABLE
    assert failure.reason == "DRAINING"


async def test_metrics_are_there_from_the_start_and_count() -> None:
    """Every counter exists before the first request, and counts it afterwards."""
    engine = ScriptedEngine()
    engine.allow(10)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        url = f"http://127.0.0.1:{client.app.metrics_port}/metrics"
        before = await asyncio.to_thread(_get, url)
        request = client.chat("go")
        request.sampling.max_tokens = 3
        await collect(client.inference.Chat(request))
        after = await asyncio.to_thread(_get, url)
    labels = (
        'grpc_method="Chat",grpc_service="tokenwire.v1.InferenceService",grpc_type="server_stream"'
    )
    started = f"grpc_server_started_total{{{labels}}}"
    assert f"{started} 0.0" in before
    assert f"{started} 1.0" in after
    finished = f'llm_requests_finished_total{{finish_reason="length",model="{MODEL_ID}"}}'
    assert f"{finished} 0.0" in before
    assert f"{finished} 1.0" in after
    assert f'llm_requests_in_flight{{model="{MODEL_ID}"}} 0.0' in after
    assert "llm_build_info" in before


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:
        return str(response.read().decode())
