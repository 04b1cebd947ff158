"""One trace for each request, whatever comes of it, through both doors of the service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import grpc
import pytest
from structlog.testing import capture_logs
from tokenwire.edge.app import EdgeApp
from tokenwire.edge.config import EdgeConfig
from tokenwire.server.models.ticket import Ticket

from .otlp_sink import OtlpSink, SeenSpan, start_sink
from .server.fronts import Client, check, collect, failure_of, start_front
from .server.scripted_engine import MODEL_ID, ScriptedEngine, ScriptedLauncher
from .surroundings import free_port

CALL = "tokenwire.v1.InferenceService/Chat"
ROUTE = "POST /api/chat/stream"
CHAT = f"chat {MODEL_ID}"
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
BODY = {"model": MODEL_ID, "messages": [{"role": "user", "content": "canary-prompt"}]}


@dataclass
class Service:
    """A front and an edge with a scripted engine, whose spans go to a sink."""

    engine: ScriptedEngine
    client: Client
    http: aiohttp.ClientSession
    edge: EdgeApp


@asynccontextmanager
async def serve(variables: dict[str, str], **more: str) -> AsyncGenerator[Service]:
    """Runs both processes' apps; all their spans are exported once it is left."""
    engine = ScriptedEngine(max_running=1)
    both = {
        "LLM_MAX_CONCURRENT_REQUESTS": "1",
        "LLM_CRASH_CONTINUATION": "false",
        **variables,
        **more,
    }
    async with start_front(ScriptedLauncher(engine).prepare, **both) as client:
        config = EdgeConfig.model_validate(
            {
                "LLM_INFERENCE_HOSTNAME": "127.0.0.1",
                "LLM_INFERENCE_PORT": "0",
                "LLM_GRPC_TARGET": f"127.0.0.1:{client.app.port}",
                **both,
            }
        )
        async with (
            EdgeApp(config) as edge,
            aiohttp.ClientSession(f"http://127.0.0.1:{edge.port}") as http,
        ):
            yield Service(engine, client, http, edge)


async def succeed(service: Service, door: str) -> None:
    """A request that is answered in full, four tokens."""
    service.engine.allow(4)
    if door == "grpc":
        request = service.client.chat("canary-prompt")
        request.sampling.max_tokens = 4
        await collect(service.client.inference.Chat(request))
        return
    async with service.http.post("/api/chat/stream", json={**BODY, "max_tokens": 4}) as answer:
        assert answer.status == 200
        assert b'"done":true' in await answer.read()


async def leave(service: Service, door: str) -> None:
    """A caller who leaves behind the first token."""
    service.engine.allow(1)
    if door == "grpc":
        call = service.client.inference.Chat(service.client.chat("canary-prompt"))
        while (await call.read()).WhichOneof("event") != "deltas":
            pass
        call.cancel()
    else:
        async with service.http.post("/api/chat/stream", json=BODY) as answer:
            await answer.content.readline()
            answer.close()
    await service.engine.wait_until(running=0, aborted=1)


async def be_late(service: Service, door: str) -> None:
    """A deadline that passes in the middle of the answer. Takes its two seconds."""
    service.engine.allow(1)
    if door == "grpc":
        call = service.client.inference.Chat(service.client.chat("canary-prompt"), timeout=2)
        failure = await failure_of(call)
        assert failure.code is grpc.StatusCode.DEADLINE_EXCEEDED
    else:
        headers = {"grpc-timeout": "2S"}
        async with service.http.post("/api/chat/stream", json=BODY, headers=headers) as answer:
            assert b"DEADLINE_EXCEEDED" in await answer.read()
    await service.engine.wait_until(running=0, aborted=1)


async def be_refused(service: Service, door: str) -> None:
    """A request that finds every place taken."""
    admission = service.client.app.models.route(MODEL_ID).model.admission
    async with admission.slot(Ticket(max_wait_s=0)):
        if door == "grpc":
            call = service.client.inference.Chat(service.client.chat("canary-prompt"))
            assert (await failure_of(call)).reason == "AT_CAPACITY"
            return
        async with service.http.post("/api/chat/stream", json=BODY) as answer:
            assert answer.status == 503


async def lose_the_engine(service: Service, door: str) -> None:
    """An engine that dies behind the first token."""
    service.engine.allow(1)
    if door == "grpc":
        call = service.client.inference.Chat(service.client.chat("canary-prompt"))
        while (await call.read()).WhichOneof("event") != "deltas":
            pass
        service.engine.die()
        assert (await failure_of(call)).reason == "ENGINE_LOST"
        return
    async with service.http.post("/api/chat/stream", json=BODY) as answer:
        await answer.content.readline()
        service.engine.die()
        assert b"the engine of the model stopped" in await answer.read()


async def meet_a_bug(service: Service, door: str) -> None:
    """An engine that raises what nobody foresaw, in place of the first token."""
    service.engine.failure = ValueError("canary-exception")
    service.engine.allow(1)
    if door == "grpc":
        call = service.client.inference.Chat(service.client.chat("canary-prompt"))
        assert (await failure_of(call)).code is grpc.StatusCode.INTERNAL
        return
    async with service.http.post("/api/chat/stream", json=BODY) as answer:
        assert answer.status == 500


STEPS = [["render"], ["queue"], ["prefill"], ["decode"]]


@dataclass(frozen=True)
class Case:
    """What a request is, and what its spans must say: status, code, reason."""

    run: Any
    steps: list[list[str]]
    outcome: str
    reason: str
    code: str
    is_fault: bool
    http_status: int
    late_status: int
    failed_step: str
    num_tokens: int


CASES = {
    "success": Case(succeed, STEPS, "finished", "", "OK", False, 200, 0, "", 4),
    "cancel": Case(leave, STEPS, "aborted", "", "CANCELLED", False, 499, 0, "", 1),
    "deadline": Case(
        be_late,
        *(STEPS, "failed", "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", True, 200, 504, "decode", 1),
    ),
    "refusal": Case(
        be_refused,
        *(STEPS[:2], "failed", "AT_CAPACITY", "UNAVAILABLE", True, 503, 503, "queue", 0),
    ),
    "engine death": Case(
        lose_the_engine,
        *(STEPS, "failed", "ENGINE_LOST", "UNAVAILABLE", True, 200, 503, "decode", 1),
    ),
    "bug": Case(
        meet_a_bug,
        *(STEPS[:3], "failed", "INTERNAL", "INTERNAL", True, 500, 500, "prefill", 0),
    ),
}


def assert_status(span: SeenSpan, error: str) -> None:
    """The span is an error of this type, or none."""
    assert span.status == ("error" if error else "")
    assert span.attributes.get("error.type", "") == error
    assert span.num_events == 0, "no exception with its text"


def assert_request(sink: OtlpSink, case: Case) -> None:
    """The spans of the request itself, below its call."""
    chat = sink.one(CHAT)
    assert chat.kind == "internal"
    assert_status(chat, case.reason)
    values = chat.attributes
    assert values["gen_ai.operation.name"] == "chat"
    assert values["gen_ai.provider.name"] == "tokenwire"
    assert values["gen_ai.request.model"] == MODEL_ID
    assert values["tokenwire.outcome"] == case.outcome
    assert values.get("tokenwire.reason", "") == case.reason
    assert values["gen_ai.usage.input_tokens"] == 1
    assert values["gen_ai.usage.output_tokens"] == case.num_tokens
    assert ("gen_ai.response.time_to_first_chunk" in values) == bool(case.num_tokens)
    if case.outcome == "finished":
        assert values["gen_ai.response.finish_reasons"] == ["length"]
    for (name,) in case.steps:
        step = sink.one(name)
        assert_status(step, case.reason if name == case.failed_step else "")
        assert chat.start_ns <= step.start_ns <= step.end_ns <= chat.end_ns
    if case.num_tokens:
        assert sink.one("decode").attributes["gen_ai.usage.output_tokens"] == case.num_tokens


def assert_served(sink: OtlpSink, case: Case) -> None:
    """The span of the call that the front served."""
    served = sink.one(CALL, "server")
    assert_status(served, case.code if case.is_fault else "")
    assert served.attributes["rpc.system.name"] == "grpc"
    assert served.attributes["rpc.method"] == CALL
    assert served.attributes["rpc.response.status_code"] == case.code
    assert served.attributes["network.peer.address"] == "127.0.0.1"
    assert served.resource["service.name"] == "name"
    assert served.resource["tokenwire.process"] == "front"


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("door", ["grpc", "http"])
async def test_every_outcome_is_one_trace(door: str, case: Case) -> None:
    """Parents, statuses and numbers are right, and nothing that was said is in them."""
    async with start_sink() as sink:
        more = {"SERVICE_NAME": "name", "LLM_MAX_QUEUED_REQUESTS": "0"}
        async with serve(sink.variables, **more) as service:
            await case.run(service, door)
        request = [CALL, [CHAT, *case.steps]]
        assert sink.tree() == (request if door == "grpc" else [ROUTE, [CALL, request]])
        assert_request(sink, case)
        assert_served(sink, case)
        assert b"canary" not in sink.raw
        if door == "grpc":
            return
        http = sink.one(ROUTE)
        assert http.kind == "server"
        assert_status(http, str(case.late_status) if case.late_status else "")
        assert http.attributes["http.route"] == "/api/chat/stream"
        assert http.attributes["http.response.status_code"] == case.http_status
        assert http.attributes.get("tokenwire.reason", "") == case.reason
        assert http.resource["tokenwire.process"] == "edge"
        call = sink.one(CALL, "client")
        assert_status(call, case.code if case.code != "OK" else "")
        assert call.attributes["rpc.response.status_code"] == case.code
        assert call.parent_id == http.span_id
        served = sink.one(CALL, "server")
        ids = {span.attributes["tokenwire.request_id"] for span in (http, served)}
        assert ids == {sink.one(CHAT).attributes["gen_ai.response.id"]}


async def ask(service: Service, *metadata: tuple[str, str]) -> None:
    """A call with metadata of its own."""
    service.engine.allow(1)
    request = service.client.chat("go")
    request.sampling.max_tokens = 1
    await collect(service.client.inference.Chat(request, metadata=metadata))


async def test_the_trace_of_the_caller_goes_on() -> None:
    """Both doors hang their spans under the caller's, and keep what vendors say of it."""
    async with start_sink() as sink, serve(sink.variables) as service:
        await ask(service, ("traceparent", CALLER), ("tracestate", "vendor=1"))
        headers = {"traceparent": CALLER, "tracestate": "vendor=2"}
        async with service.http.get("/api/llms", headers=headers) as answer:
            assert answer.status == 200
    assert {span.trace_id for span in sink.spans} == {CALLER[3:35]}
    assert {span.parent_id for span in sink.roots()} == {CALLER[36:52]}
    states = {span.name: span.state for span in sink.spans}
    assert states[CHAT] == states["decode"] == "vendor=1"
    assert states["GET /api/llms"] == "vendor=2"
    models = "tokenwire.v1.InferenceService/ListModels"
    assert sink.one(models, "server").parent_id == sink.one(models, "client").span_id
    assert sink.one(models, "server").state == "vendor=2"


@pytest.mark.parametrize("door", ["grpc", "http"])
async def test_a_caller_who_records_nothing_is_followed(door: str) -> None:
    """A trace whose caller did not sample it is not recorded below him either."""
    unsampled = CALLER[:-2] + "00"
    async with start_sink() as sink:
        async with serve(sink.variables) as service:
            if door == "grpc":
                await ask(service, ("traceparent", unsampled))
            else:
                service.engine.allow(4)
                body = {**BODY, "max_tokens": 1}
                headers = {"traceparent": unsampled}
                async with service.http.post("/api/chat", json=body, headers=headers) as answer:
                    assert answer.status == 200
            await ask(service)
        assert sink.tree()[0] == CALL
        assert sink.spans[0].trace_id != CALLER[3:35]


@pytest.mark.parametrize(
    "unfit", ["00-nonsense", CALLER.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32)]
)
async def test_a_trace_that_is_none_is_ignored(unfit: str) -> None:
    """A call with a broken `traceparent` is answered, in a trace of its own."""
    async with start_sink() as sink, serve(sink.variables) as service:
        await ask(service, ("traceparent", unfit), ("tracestate", "vendor=1"))
    assert sink.tree()[0] == CALL
    assert sink.one(CALL).parent_id == ""
    assert sink.one(CALL).state == ""


async def test_a_share_of_all_traces_is_recorded_whole() -> None:
    """What the edge records the front records, too: no trace has half of its spans."""
    share = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"}
    async with start_sink() as sink, serve({**sink.variables, **share}) as service:
        for _ in range(40):
            async with service.http.get("/api/llms") as answer:
                assert answer.status == 200
    names = [span.name for span in sink.spans]
    num_traces = names.count("GET /api/llms")
    assert 0 < num_traces < 40
    assert len(names) == 3 * num_traces


@pytest.mark.parametrize("door", ["grpc", "http"])
async def test_a_mistake_of_the_caller_is_no_fault(door: str) -> None:
    """What names no model of ours is an error of the request alone, and its text is in no span."""
    async with start_sink() as sink, serve(sink.variables) as service:
        if door == "grpc":
            call = service.client.inference.Chat(service.client.on("canary/model").chat("go"))
            assert (await failure_of(call)).code is grpc.StatusCode.NOT_FOUND
        else:
            body = {**BODY, "model": "canary/model"}
            async with service.http.post("/api/chat", json=body) as answer:
                assert answer.status == 400
    assert b"canary" not in sink.raw
    request = [CALL, ["chat"]]
    assert sink.tree() == (request if door == "grpc" else ["POST /api/chat", [CALL, request]])
    assert_status(sink.one("chat"), "UNSUPPORTED_MODEL")
    served = sink.one(CALL, "server")
    assert_status(served, "")
    assert served.attributes["rpc.response.status_code"] == "NOT_FOUND"
    assert served.attributes["tokenwire.reason"] == "UNSUPPORTED_MODEL"
    if door == "http":
        http = sink.one("POST /api/chat")
        assert_status(http, "")
        assert http.attributes["tokenwire.reason"] == "UNSUPPORTED_MODEL"


async def test_probes_and_scrapes_are_not_traced() -> None:
    """What comes every few seconds makes no span; a path that does not exist makes one."""
    async with start_sink() as sink, serve(sink.variables) as service:
        await check(service.client, "readiness")
        for path in ("/health/live", "/health/ready", "/metrics", "/nothing"):
            async with service.http.get(path) as answer:
                await answer.read()
    (span,) = sink.spans
    assert span.name == "GET"
    assert span.attributes["http.response.status_code"] == 404
    assert span.attributes["tokenwire.reason"] == "NOT_FOUND"
    assert not {"http.route", "url.path"} & span.attributes.keys()
    assert span.status == ""


async def test_the_engine_is_told_of_the_trace() -> None:
    """Spans of an engine that traces by itself hang under the call, and are sampled as it is."""
    async with start_sink() as sink:
        async with serve(sink.variables) as service:
            await ask(service, ("traceparent", CALLER), ("tracestate", "vendor=1"))
            (request,) = service.engine.requests
        span = sink.one(CALL)
        traceparent = f"00-{span.trace_id}-{span.span_id}-01"
        assert request.trace_headers == (("traceparent", traceparent), ("tracestate", "vendor=1"))


async def test_without_a_collector_nothing_is_made() -> None:
    """Where none is named there is no tracer, and the caller's trace goes on to the engine."""
    async with serve({}) as service:
        assert service.client.app.tracer is None
        assert service.edge.tracer is None
        service.engine.allow(1)
        body, headers = {**BODY, "max_tokens": 1}, {"traceparent": CALLER}
        async with service.http.post("/api/chat", json=body, headers=headers) as answer:
            assert answer.status == 200
        assert service.engine.requests[0].trace_headers == (("traceparent", CALLER),)


@pytest.mark.parametrize("fault", ["gone", "hanging", "refusing"])
async def test_a_collector_that_fails_costs_no_request(fault: str) -> None:
    """Requests are answered while spans are lost, which is counted, and the end is bounded."""
    async with start_sink() as sink:
        sink.is_hanging = fault == "hanging"
        sink.refusal = grpc.StatusCode.PERMISSION_DENIED if fault == "refusing" else None
        # Whoever waited for it would wait for ten minutes.
        patience = {"OTEL_BSP_SCHEDULE_DELAY": "1", "OTEL_EXPORTER_OTLP_TIMEOUT": "600"}
        variables = {**sink.variables, **patience}
        if fault == "gone":
            variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{free_port()}"
        with capture_logs() as lines:
            async with asyncio.timeout(60), serve(variables) as service:
                for door in ("grpc", "http"):
                    await succeed(service, door)
                front, edge = service.client.app.tracer, service.edge.tracer
    assert front is not None
    assert edge is not None
    assert (front.num_dropped, edge.num_dropped) == (12, 2)
    lost = [line for line in lines if line["event"] == "spans_lost"]
    assert sum(line["num_spans"] for line in lost) == 14
    assert sink.spans == []
