"""Messages that a scripted service answers the client with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from tokenwire.generated.tokenwire.v1 import events_pb2, inference_pb2

Response = inference_pb2.ChatResponse


def started(**fields: Any) -> Response:
    values = {"request_id": "r1", "model": "m", "num_prompt_tokens": 3, "max_tokens": 9} | fields
    return Response(started=events_pb2.Started(**values))


def deltas(*kinds: Any) -> Response:
    """One message with these kinds of delta, or pairs of a choice and a kind."""
    pairs = [kind if isinstance(kind, tuple) else (0, kind) for kind in kinds]
    return Response(deltas=events_pb2.Deltas(deltas=[_delta(*pair) for pair in pairs]))


def _delta(choice: int, kind: Any) -> events_pb2.Delta:
    names = {
        events_pb2.TextDelta: "text",
        events_pb2.ReasoningDelta: "reasoning",
        events_pb2.ToolCallDelta: "tool_call",
        events_pb2.ChoiceFinished: "finished",
        events_pb2.PromptLogprobs: "prompt_logprobs",
    }
    return events_pb2.Delta(choice=choice, **{names[type(kind)]: kind})


def text(words: str) -> events_pb2.TextDelta:
    return events_pb2.TextDelta(text=words)


def thinking(words: str) -> events_pb2.ReasoningDelta:
    return events_pb2.ReasoningDelta(text=words)


def tool_call(call_id: str, name: str, *arguments: str, index: int = 0) -> list[Any]:
    """The parts of a call, one for each part of its arguments behind the first."""
    parts = [events_pb2.ToolCallDelta(index=index, id=call_id, name=name)]
    return parts + [events_pb2.ToolCallDelta(index=index, arguments=part) for part in arguments]


def end(reason: Any = events_pb2.FINISH_REASON_EOS, **fields: Any) -> events_pb2.ChoiceFinished:
    return events_pb2.ChoiceFinished(finish_reason=reason, **fields)


CALLED = events_pb2.FINISH_REASON_TOOL_CALLS


def finished(**usage: Any) -> Response:
    numbers = events_pb2.Usage(**({"num_prompt_tokens": 3, "num_completion_tokens": 2} | usage))
    timings = events_pb2.Timings(time_to_first_token=Duration(nanos=250_000_000))
    return Response(finished=events_pb2.Finished(usage=numbers, timings=timings))


def whole(*kinds: Any) -> list[Response]:
    """A stream from its beginning to its end; the last kind is the end of the choice."""
    return [started(), *(deltas(kind) for kind in kinds), finished()]


HELLO = whole(text("Hel"), text("lo"), end())


@dataclass(frozen=True)
class Status(grpc.Status):
    """How a call fails."""

    code: grpc.StatusCode
    details: str
    trailing_metadata: Any


def failing(
    code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE,
    reason: str = "AT_CAPACITY",
    *,
    retry_s: float | None = None,
    fields: Iterable[tuple[str, str]] = (),
) -> Status:
    """A status with details as the service sends them, for any wait."""
    info = error_details_pb2.ErrorInfo(reason=reason, domain="tokenwire", metadata={"limit": "1"})
    details: list[Any] = [info, error_details_pb2.RequestInfo(request_id="r1")]
    if retry_s is not None:
        delay = Duration(seconds=int(retry_s), nanos=int(retry_s % 1 * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if fields:
        violation = error_details_pb2.BadRequest.FieldViolation
        bad = [violation(field=field, description=text) for field, text in fields]
        details.append(error_details_pb2.BadRequest(field_violations=bad))
    packed = [AnyMessage() for _ in details]
    for box, detail in zip(packed, details, strict=True):
        box.Pack(detail)
    status = status_pb2.Status(code=code.value[0], message="no", details=packed)
    return Status(code, "no", (("grpc-status-details-bin", status.SerializeToString()),))
