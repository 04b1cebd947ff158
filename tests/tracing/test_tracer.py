"""The spans of one process."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from aiohttp import web
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from tokenwire.tracing.settings import TracingSettings
from tokenwire.tracing.trace_context import NO_TRACE, TraceContext
from tokenwire.tracing.tracer import Tracer

from ..otlp_sink import SeenSpan, read_spans, start_sink

CALLER = TraceContext.read("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
UNSAMPLED = TraceContext.read("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")


async def spans_of(**variables: str) -> list[SeenSpan]:
    """What a collector gets of three requests: without a trace, sampled and unsampled."""
    async with start_sink() as sink:
        settings = TracingSettings.model_validate({**sink.variables, **variables})
        async with Tracer(settings, "service", "edge") as tracer:
            for name, caller in (("own", NO_TRACE), ("on", CALLER), ("off", UNSAMPLED)):
                tracer.begin_server(name, caller).end()
        return sink.spans


@pytest.mark.parametrize(
    ("sampler", "share", "recorded"),
    [
        ("always_on", "0", ["own", "on", "off"]),
        ("always_off", "1", []),
        ("traceidratio", "0", []),
        ("traceidratio", "1", ["own", "on", "off"]),
        ("parentbased_always_on", "0", ["own", "on"]),
        ("parentbased_always_off", "1", ["on"]),
        ("parentbased_traceidratio", "0", ["on"]),
        ("parentbased_traceidratio", "1", ["own", "on"]),
    ],
)
async def test_samplers_decide_as_their_names_say(
    sampler: str, share: str, recorded: list[str]
) -> None:
    """A sampler that is parentbased follows the caller, the others do not."""
    variables = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": share}
    assert [span.name for span in await spans_of(**variables)] == recorded


async def test_the_resource_says_who_made_a_span() -> None:
    """The service's name is ours, whatever the attributes say; the rest is taken from them."""
    attributes = "service.name=other,deployment.environment.name=a%20b"
    span, *_ = await spans_of(OTEL_RESOURCE_ATTRIBUTES=attributes)
    assert span.resource["service.name"] == "service"
    assert span.resource["tokenwire.process"] == "edge"
    assert span.resource["deployment.environment.name"] == "a b"
    assert span.resource["telemetry.sdk.language"] == "python"
    assert len(span.resource["service.instance.id"]) == 36


async def test_the_name_of_traces_wins() -> None:
    """`OTEL_SERVICE_NAME` names the service in traces, where it is set."""
    span, *_ = await spans_of(OTEL_SERVICE_NAME="traced")
    assert span.resource["service.name"] == "traced"


async def test_an_unrecorded_span_leads_on() -> None:
    """Those below it are in the same trace, and know that it is not recorded."""
    async with start_sink() as sink:
        settings = TracingSettings.model_validate(sink.variables)
        async with Tracer(settings, "service", "edge") as tracer:
            span = tracer.begin_server("off", UNSAMPLED)
            assert not span.is_recorded
            assert span.context.trace_id == UNSAMPLED.trace_id
            assert span.context.span_id != UNSAMPLED.span_id
            assert not span.context.is_sampled


@asynccontextmanager
async def start_http_sink(got: list[Any]) -> AsyncGenerator[str]:
    """A collector of OTLP over HTTP; keeps path, headers and spans of what it is sent."""

    async def take(request: web.Request) -> web.Response:
        message = trace_service_pb2.ExportTraceServiceRequest.FromString(await request.read())
        got.append((request.path, dict(request.headers), read_spans(message)))
        return web.Response()

    app = web.Application()
    app.add_routes([web.post("/{path:.*}", take)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def test_spans_go_over_http_as_well() -> None:
    """The protocol http/protobuf sends the same spans, compressed where it is told to."""
    got: list[Any] = []
    async with start_http_sink(got) as endpoint:
        settings = TracingSettings.model_validate(
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "OTEL_EXPORTER_OTLP_HEADERS": "X-Key=a%20b",
                "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            }
        )
        async with Tracer(settings, "service", "edge") as tracer:
            tracer.begin_server("call", NO_TRACE).end()
    ((path, headers, (span,)),) = got
    assert path == "/v1/traces"
    assert headers["x-key"] == "a b"
    assert headers["Content-Encoding"] == "gzip"
    assert span.name == "call"


async def test_headers_go_with_spans_over_grpc() -> None:
    """They are metadata there, in lower case as gRPC wants it."""
    async with start_sink() as sink:
        headers = {"OTEL_EXPORTER_OTLP_HEADERS": "X-Key=a%20b"}
        settings = TracingSettings.model_validate({**sink.variables, **headers})
        async with Tracer(settings, "service", "edge") as tracer:
            tracer.begin_server("call", NO_TRACE).end()
        assert sink.metadata["x-key"] == "a b"


@pytest.mark.parametrize("has_certificate", [True, False])
async def test_spans_go_over_tls(tmp_path: Path, has_certificate: bool) -> None:
    """The collector is known by its certificate, and a process that it demands one of by its."""
    authority = trustme.CA()
    server, client = authority.issue_cert("127.0.0.1"), authority.issue_cert("client")
    files = {name: tmp_path / f"{name}.pem" for name in ("ca", "certificate", "key")}
    authority.cert_pem.write_to_path(files["ca"])
    client.cert_chain_pems[0].write_to_path(files["certificate"])
    client.private_key_pem.write_to_path(files["key"])
    pair = server.private_key_pem.bytes(), server.cert_chain_pems[0].bytes()
    credentials = grpc.ssl_server_credentials(
        [pair], authority.cert_pem.bytes(), require_client_auth=True
    )
    variables = {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(files["ca"])}
    if has_certificate:
        variables["OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"] = str(files["certificate"])
        variables["OTEL_EXPORTER_OTLP_CLIENT_KEY"] = str(files["key"])
    async with start_sink(credentials) as sink:
        settings = TracingSettings.model_validate({**sink.variables, **variables})
        async with Tracer(settings, "service", "edge") as tracer:
            tracer.begin_server("call", NO_TRACE).end()
        assert [span.name for span in sink.spans] == (["call"] if has_certificate else [])
        assert tracer.num_dropped == (not has_certificate)
