"""Load reports: their numbers, their bytes, and what gRPC's own balancer makes of them."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tokenwire.generated.tokenwire.v1 import inference_pb2, inference_pb2_grpc
from tokenwire.generated.xds.data.orca.v3.orca_load_report_pb2 import OrcaLoadReport
from tokenwire.generated.xds.service.orca.v3 import orca_pb2, orca_pb2_grpc
from tokenwire.server.models.served_model import ServedModel
from tokenwire.server.models.ticket import Ticket
from tokenwire.server.rpc import load_reports
from tokenwire.server.rpc.load_reports import LoadReports

from ..fronts import Client, check, collect, failure_of, start_front
from ..models.hand_clock import HandClock
from ..scripted_engine import ScriptedEngine, ScriptedLauncher

OK = grpc.StatusCode.OK
Field = descriptor_pb2.FieldDescriptorProto
LIST = "tokenwire.v1.InferenceService/ListModels"
CHAT = "tokenwire.v1.InferenceService/Chat"


def independent_report() -> Any:
    """A decoder of its own, made from the numbers and types of github.com/cncf/xds."""
    file = descriptor_pb2.FileDescriptorProto(name="orca.proto", package="copy", syntax="proto3")
    message = file.message_type.add(name="Report")
    for number, name, kind in (
        (1, "cpu_utilization", Field.TYPE_DOUBLE),
        (2, "mem_utilization", Field.TYPE_DOUBLE),
        (3, "rps", Field.TYPE_UINT64),
        (6, "rps_fractional", Field.TYPE_DOUBLE),
        (7, "eps", Field.TYPE_DOUBLE),
        (9, "application_utilization", Field.TYPE_DOUBLE),
    ):
        message.field.add(name=name, number=number, type=kind, label=Field.LABEL_OPTIONAL)
    for number, name, entry in (
        (4, "request_cost", "RequestCostEntry"),
        (5, "utilization", "UtilizationEntry"),
        (8, "named_metrics", "NamedMetricsEntry"),
    ):
        pair = message.nested_type.add(name=entry)
        pair.options.map_entry = True
        label = Field.LABEL_OPTIONAL
        pair.field.add(name="key", number=1, type=Field.TYPE_STRING, label=label)
        pair.field.add(name="value", number=2, type=Field.TYPE_DOUBLE, label=label)
        message.field.add(
            name=name,
            number=number,
            type=Field.TYPE_MESSAGE,
            type_name=f".copy.Report.{entry}",
            label=Field.LABEL_REPEATED,
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("copy.Report"))


async def buf_curl(client: Client, method: str, data: str = "{}") -> str:
    """What `buf curl` sees on the wire: gRPC's own client keeps the trailer to itself."""
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).parent / "buf"), "curl", "-v", "--http2-prior-knowledge"),
        *("--protocol", "grpc", "--reflect-protocol", "grpc-v1", "--data", data),
        f"http://127.0.0.1:{client.app.port}/{method}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, seen = await process.communicate()
    return seen.decode()


def report_in(seen: str) -> Any:
    """The report that `buf curl` saw, decoded independently."""
    (packed,) = re.findall(r"(?i)endpoint-load-metrics-bin: (\S+)", seen)
    return independent_report().FromString(base64.b64decode(packed + "=" * (-len(packed) % 4)))


def model_of(max_in_flight: int = 4) -> ServedModel:
    return ServedModel(
        "a/a",
        ScriptedLauncher().prepare,
        max_in_flight=max_in_flight,
        max_queued=9,
        on_change=lambda: None,
    )


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def reports_of(
    clock: HandClock, *models: ServedModel, memory_share: float | None = None
) -> LoadReports:
    return LoadReports(models, lambda: memory_share, clock.time)


def last_report(reports: LoadReports, code: grpc.StatusCode = OK) -> OrcaLoadReport:
    """The report behind a call that begins and ends now."""
    reports.begin()
    key, packed = reports.end(code)
    assert key == "endpoint-load-metrics-bin"
    return OrcaLoadReport.FromString(packed)


async def test_behind_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that succeeds and one that fails both carry a report that other code reads."""
    monkeypatch.setattr(load_reports, "MAX_AGE_S", 0.0)
    engine = ScriptedEngine(max_running=2)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        call = client.inference.Chat(client.chat("go"))
        await engine.wait_until(running=1)
        engine.kv_usage = 0.25
        await next(iter(client.app.models)).status_watch.ask()
        good = report_in(await buf_curl(client, LIST))
        failed = report_in(await buf_curl(client, CHAT))
        call.cancel()
    for report in (good, failed):
        assert report.application_utilization == 1.0  # one that runs, one that ends; two slots
        assert report.utilization == {"kv_cache": 0.25}
        assert report.named_metrics == {"in_flight": 1, "queue_depth": 0, "slots": 2}
        assert report.rps_fractional > 0


async def test_probes_are_no_load() -> None:
    """A health check, or the stream of reports, is not counted as a call."""
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        await check(client, "")
        stub = orca_pb2_grpc.OpenRcaServiceStub(client.channel)
        stream: Any = stub.StreamCoreMetrics(orca_pb2.OrcaLoadReportRequest())
        report = await stream.read()
        stream.cancel()
        assert report.rps_fractional == 0
        assert report.application_utilization == 0


async def test_off() -> None:
    """LLM_LOAD_REPORTS=false sends no trailer and has no such service."""
    prepare = ScriptedLauncher(ScriptedEngine()).prepare
    async with start_front(prepare, LLM_LOAD_REPORTS="false") as client:
        assert "endpoint-load-metrics-bin" not in (await buf_curl(client, LIST)).lower()
        stub = orca_pb2_grpc.OpenRcaServiceStub(client.channel)
        failure = await failure_of(stub.StreamCoreMetrics(orca_pb2.OrcaLoadReportRequest()))
        assert failure.code is grpc.StatusCode.UNIMPLEMENTED


async def test_in_flight_and_queue(clock: HandClock) -> None:
    """All models count together; a queue makes the server busier than all of its slots."""
    one, other = model_of(1), model_of(3)
    reports = reports_of(clock, one, other, memory_share=0.5)
    one.admission.open(1)
    other.admission.open(3)
    async with one.admission.slot(Ticket(0)), other.admission.slot(Ticket(0)):
        waiting = [asyncio.create_task(_take(one)) for _ in range(4)]
        await asyncio.sleep(0)
        report = reports.make(clock.time())
        for task in waiting:
            task.cancel()
    assert report.application_utilization == 6 / 4
    assert dict(report.named_metrics) == {"in_flight": 2, "queue_depth": 4, "slots": 4}
    assert report.mem_utilization == 0.5
    assert not report.utilization  # no engine has told anything


async def _take(model: ServedModel) -> None:
    async with model.admission.slot(Ticket(10)):
        pass


async def test_the_call_that_ends_counts(clock: HandClock) -> None:
    """Where one call after another keeps the only slot, the server is busy all the time."""
    reports = reports_of(clock, model_of(1))
    assert last_report(reports).application_utilization == 1.0
    assert reports.make(clock.time()).application_utilization == 0.0


async def test_one_report_for_calls_at_once(clock: HandClock) -> None:
    """A report is sent behind all calls of a tenth of a second, then made anew."""
    reports = reports_of(clock, model_of(1))
    reports.begin()  # another call, which goes on
    first = last_report(reports)
    assert first.application_utilization == 2.0
    reports.end(OK)
    clock.advance(0.09)
    assert last_report(reports) == first
    clock.advance(0.02)
    assert last_report(reports).application_utilization == 1.0


async def test_calls_and_errors_a_second(clock: HandClock) -> None:
    """They are counted over half a minute; of errors those that the server may be the cause of."""
    reports = reports_of(clock, model_of())
    for _ in range(60):
        clock.advance(0.5)
        last_report(reports)
    clock.advance(0.5)
    report = last_report(reports, grpc.StatusCode.UNAVAILABLE)
    assert report.rps_fractional == pytest.approx(2.0, rel=0.05)
    assert report.eps == pytest.approx(1 / 30, rel=0.05)
    clock.advance(0.5)
    report = last_report(reports, grpc.StatusCode.INVALID_ARGUMENT)
    assert report.eps == pytest.approx(1 / 30, rel=0.05)
    clock.advance(3600)  # nobody calls
    report = last_report(reports)
    assert report.eps == 0
    assert report.rps_fractional == 1 / 30  # and not once an hour


async def test_the_first_second_has_no_spike(clock: HandClock) -> None:
    """Right behind the start a few calls are not taken for hundreds a second."""
    reports = reports_of(clock, model_of())
    clock.advance(0.001)
    assert last_report(reports).rps_fractional == 1.0


@pytest.mark.parametrize(
    ("asked_ms", "waited_s"),
    [(None, 1.0), (1, 1.0), (-5000, 1.0), (2500, 2.5), (10**12, 3600.0)],
)
async def test_interval_has_a_floor(
    clock: HandClock, monkeypatch: pytest.MonkeyPatch, asked_ms: int | None, waited_s: float
) -> None:
    """The first report comes at once, the others at the interval, a second apart at least."""
    waits: list[float] = []

    async def sleep(delay_s: float) -> None:
        waits.append(delay_s)

    reports = reports_of(clock, model_of())
    monkeypatch.setattr(load_reports.asyncio, "sleep", sleep)
    request = orca_pb2.OrcaLoadReportRequest()
    if asked_ms is not None:
        request.report_interval.FromMilliseconds(asked_ms)
    stream = reports.StreamCoreMetrics(request, None)  # type: ignore[arg-type]
    await anext(stream)
    assert waits == []
    await anext(stream)
    assert waits == [waited_s]


async def test_streams_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One stream too many is refused, and the place of one that ends is free again."""
    monkeypatch.setattr(load_reports, "MAX_LOAD_REPORT_STREAMS", 1)
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        stub = orca_pb2_grpc.OpenRcaServiceStub(client.channel)
        request = orca_pb2.OrcaLoadReportRequest()
        stream: Any = stub.StreamCoreMetrics(request)
        await stream.read()
        failure = await failure_of(stub.StreamCoreMetrics(request))
        assert failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        stream.cancel()
        async with asyncio.timeout(45):
            while True:
                again: Any = stub.StreamCoreMetrics(request)
                if await again.read() is not grpc.aio.EOF:
                    again.cancel()
                    break


async def test_grpcs_own_balancer_avoids_the_loaded_one() -> None:
    """`weighted_round_robin` of gRPC's core gives a busy front fewer calls than a free one."""
    engines = [ScriptedEngine(max_running=10) for _ in range(2)]
    busy_prepare, free_prepare = (ScriptedLauncher(engine).prepare for engine in engines)
    async with start_front(busy_prepare) as busy, start_front(free_prepare) as free:
        held = [busy.inference.Chat(busy.chat("hold")) for _ in range(9)]
        await engines[0].wait_until(running=9)
        policy = {"blackoutPeriod": "0.001s", "weightUpdatePeriod": "0.1s"}
        config = {"loadBalancingConfig": [{"weighted_round_robin": policy}]}
        addresses = ",".join(f"127.0.0.1:{client.app.port}" for client in (busy, free))
        options = [
            ("grpc.service_config", json.dumps(config)),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        async with grpc.aio.insecure_channel(f"ipv4:{addresses}", options=options) as channel:
            stub: Any = inference_pb2_grpc.InferenceServiceStub(channel)

            async def count_picks(num_calls: int) -> list[int]:
                before = [_num_calls(client) for client in (busy, free)]
                for _ in range(num_calls):
                    await stub.ListModels(inference_pb2.ListModelsRequest())
                return [
                    _num_calls(client) - count
                    for client, count in zip((busy, free), before, strict=True)
                ]

            async with asyncio.timeout(30):
                while True:  # until both have reported and the weights are in use
                    to_busy, to_free = await count_picks(50)
                    if 3 * to_busy <= to_free:
                        break
        for call in held:
            call.cancel()


def _num_calls(client: Client) -> int:
    reports = client.app._load_reports
    assert reports is not None
    return reports._num_ended


@pytest.mark.parametrize("theirs_first", [True, False])
def test_another_package_may_bring_the_same_messages(theirs_first: bool) -> None:
    """The files of a package that has all of xDS differ: both are there, in either order."""
    theirs = """
from google.protobuf import descriptor_pb2, descriptor_pool
for name in ("xds/data/orca/v3/orca_load_report.proto", "xds/service/orca/v3/orca.proto"):
    package = name.rpartition("/")[0].replace("/", ".")
    file = descriptor_pb2.FileDescriptorProto(name=name, package=package, syntax="proto3")
    file.message_type.add(name="OrcaLoadReport")
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
"""
    ours = """
from tokenwire.server.rpc.load_reports import OrcaLoadReport, orca_pb2
request = orca_pb2.OrcaLoadReportRequest()
request.report_interval.FromSeconds(3)
assert OrcaLoadReport(eps=1).SerializeToString() and request.report_interval.seconds == 3
"""
    program = theirs + ours if theirs_first else ours + theirs
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


async def test_answers_are_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream with a report behind it is read to its end, and a failure keeps its trailers."""
    monkeypatch.setattr(load_reports, "MAX_AGE_S", 0.0)
    engine = ScriptedEngine()
    engine.allow(10)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = client.chat("go")
        request.sampling.max_tokens = 2
        assert (await collect(client.inference.Chat(request))).text == "0 1 "
        request.model = "x"
        failure = await failure_of(client.inference.Chat(request))
        assert failure.reason == "UNSUPPORTED_MODEL"
        assert failure.trailers["x-request-id"] == failure.request_id
