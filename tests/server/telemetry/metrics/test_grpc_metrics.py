"""Counters of gRPC calls."""

from __future__ import annotations

import grpc
import pytest
from prometheus_client import CollectorRegistry
from tokenwire.server.telemetry.metrics.grpc_metrics import GrpcMetrics, MessageCounts
from tokenwire.tracing.trace_context import TraceContext

from ...fronts import collect, scrape, start_front
from ...scripted_engine import ScriptedEngine, ScriptedLauncher

TRACE = TraceContext.read("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
CHAT = ("server_stream", "tokenwire.v1.InferenceService", "Chat")
LABELS = dict(zip(("grpc_type", "grpc_service", "grpc_method"), CHAT, strict=True))


@pytest.mark.parametrize(
    ("code", "label"),
    [
        (grpc.StatusCode.OK, "OK"),
        (grpc.StatusCode.INTERNAL, "Internal"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "DeadlineExceeded"),
    ],
)
def test_calls_are_counted_by_code(code: grpc.StatusCode, label: str) -> None:
    """A call is counted at its begin and at its end, under the name that dashboards expect."""
    registry = CollectorRegistry()
    metrics = GrpcMetrics(registry, [CHAT])

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, LABELS | labels)

    assert value("grpc_server_started_total") == 0
    assert value("grpc_server_handled_total", grpc_code=label) == 0
    metrics.started(CHAT)
    metrics.handled(CHAT, code, 0.5, MessageCounts(num_received=1, num_sent=7), TRACE)
    assert value("grpc_server_started_total") == 1
    assert value("grpc_server_handled_total", grpc_code=label) == 1
    assert value("grpc_server_handling_seconds_sum") == 0.5
    assert value("grpc_server_msg_received_total") == 1
    assert value("grpc_server_msg_sent_total") == 7
    exemplars = [
        sample.exemplar.labels
        for family in registry.collect()
        for sample in family.samples
        if sample.exemplar
    ]
    assert exemplars == [{"trace_id": TRACE.trace_id}]


async def test_messages_are_counted() -> None:
    """A stream's messages are counted at its end, a unary call's with it, both ways."""
    engine = ScriptedEngine()
    engine.allow(3)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = client.chat("go")
        request.sampling.max_tokens = 3
        call = client.inference.Chat(request)
        answer = await collect(call)
        await client.list_models()
        lines = await scrape(client)

    def count(name: str, method: str) -> float:
        (line,) = [line for line in lines if line.startswith(f'{name}{{grpc_method="{method}"')]
        return float(line.rpartition(" ")[2])

    assert count("grpc_server_msg_received_total", "Chat") == 1
    assert count("grpc_server_msg_sent_total", "Chat") == len(answer.events)
    assert count("grpc_server_msg_received_total", "ListModels") == 1
    assert count("grpc_server_msg_sent_total", "ListModels") == 1
    assert count("grpc_server_msg_sent_total", "Generate") == 0
