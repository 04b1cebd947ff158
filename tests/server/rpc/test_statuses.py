"""Failures as the statuses that callers get."""

from __future__ import annotations

import grpc
import pytest
from grpc_health.v1 import health_pb2
from tokenwire.generated.tokenwire.v1 import errors_pb2, options_pb2
from tokenwire.server.contract.errors import GenerationFailed, InferenceError, InvalidRequest
from tokenwire.server.rpc.statuses import INTERNAL, CallStatus, internal_status, status_of

from ..fronts import (
    check,
    failure_of,
    start_front,
    unpack,
)
from ..scripted_engine import MODEL_ID, ScriptedEngine, ScriptedLauncher

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


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


async def test_failure_inside_the_engine_is_told_in_its_own_words() -> None:
    """A failure that the engine foresees is GENERATION_FAILED."""
    engine = ScriptedEngine()
    engine.failure = GenerationFailed("the engine ended the request with an error")
    engine.allow(1)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        failure = await failure_of(client.inference.Chat(client.chat("go")))
    assert failure.code is grpc.StatusCode.INTERNAL
    assert failure.reason == "GENERATION_FAILED"


def kinds_of_error() -> list[type[InferenceError]]:
    """Those that are raised: a base of several has no reason of its own."""
    kinds = InferenceError.__subclasses__()
    return [leaf for kind in kinds for leaf in (kind.__subclasses__() or [kind])]


@pytest.mark.parametrize("kind", kinds_of_error())
def test_every_failure_has_the_status_of_its_reason(kind: type[InferenceError]) -> None:
    """Code, reason and time to retry are those of the table in the protos; the detail stays."""
    error = kind.__new__(kind)
    InferenceError.__init__(error, "the message", metadata={"limit": "1"}, detail="canary-text")
    error.model_id = "m"  # type: ignore[attr-defined]  # of UnsupportedModel
    value = errors_pb2.ErrorReason.DESCRIPTOR.values_by_name[f"ERROR_REASON_{kind.reason}"]
    traits = value.GetOptions().Extensions[options_pb2.error]
    status = status_of(error, "call-1")
    failure = unpack(as_call_error(status))
    assert failure.code.value[0] == traits.grpc_code
    assert (failure.message, failure.reason) == ("the message", kind.reason)
    assert failure.metadata == {"limit": "1"}
    assert failure.request_id == failure.trailers["x-request-id"] == "call-1"
    assert failure.retry_after_s == (traits.retry_after_s or None)
    assert "canary" not in repr(status)


def test_violations_are_told_by_field() -> None:
    """A bad request names each field that is wrong."""
    status = status_of(InvalidRequest("a", "is wrong", ("b.c", "too")), "call-1")
    assert unpack(as_call_error(status)).fields == ["a", "b.c"]


def test_unforeseen_failure_is_internal() -> None:
    """What nobody foresaw has a reason of its own, general words and the id to look for."""
    failure = unpack(as_call_error(internal_status("call-1")))
    assert (failure.code, failure.reason) == (grpc.StatusCode.INTERNAL, INTERNAL)
    assert failure.request_id == "call-1"


def as_call_error(status: CallStatus) -> grpc.aio.AioRpcError:
    """The error that a client makes of a status."""
    return grpc.aio.AioRpcError(
        status.code,
        grpc.aio.Metadata(),
        grpc.aio.Metadata(*status.trailing_metadata),
        status.details,
    )
