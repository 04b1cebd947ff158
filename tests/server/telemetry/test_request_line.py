"""The log line of a request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs
from tokenwire.generated.tokenwire.v1 import inference_pb2
from tokenwire.server.contract.events import FinishReason
from tokenwire.server.request.calls import (
    CallAborted,
    CallContext,
    CallFailed,
    CallFinished,
    CallOutcome,
)
from tokenwire.server.request.clock import Pause, Timeline
from tokenwire.server.request.ended_request import EndedRequest
from tokenwire.server.rpc.codecs.request_codec import decode_chat, decode_generate
from tokenwire.server.telemetry.request_line import log_request
from tokenwire.tracing.trace_context import TraceContext

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
CONTEXT = CallContext(
    "r",
    caller="ipv4:10.0.0.1:5",
    trace=TraceContext.read(f"00-{TRACE_ID}-b7ad6b7169203331-01", ""),
    key="team",
)
CALL = decode_generate(inference_pb2.GenerateRequest(model="m", text="canary-prompt"), CONTEXT)
CHAT = decode_chat(inference_pb2.ChatRequest(model="m"), CallContext("r"))
TIMELINE = Timeline(10.0, None, None, None, None, None, None, ended_s=11.23456)
COMMON = {
    "request_id": "r",
    "trace_id": TRACE_ID,
    "key": "team",
    "peer": "ipv4:10.0.0.1:5",
    "method": "tokenwire.v1.InferenceService/Generate",
    "duration_s": 1.2346,
}


def line_of(ended: EndedRequest) -> dict[str, Any]:
    with capture_logs() as lines:
        log_request(ended)
    (line,) = lines
    assert line.pop("event") == "request"
    assert line.pop("log_level") == "info"
    return dict(line)


@pytest.mark.parametrize(
    ("outcome", "described"),
    [
        (CallAborted(), {"outcome": "aborted", "code": "CANCELLED"}),
        (CallFailed("QUEUE_TIMEOUT"), {"outcome": "QUEUE_TIMEOUT", "code": "UNAVAILABLE"}),
        (
            CallFailed("DEADLINE_EXCEEDED"),
            {"outcome": "DEADLINE_EXCEEDED", "code": "DEADLINE_EXCEEDED"},
        ),
        (CallFailed("INTERNAL"), {"outcome": "INTERNAL", "code": "INTERNAL"}),
        (
            CallFailed("ENGINE_LOST", "why"),
            {"outcome": "ENGINE_LOST", "code": "UNAVAILABLE", "detail": "why"},
        ),
        (
            CallFinished(FinishReason.EOS, 4, 2, 3, 1, 0.12345, 0.56789, 0.4, 2.0),
            {
                "outcome": "finished",
                "code": "OK",
                "finish_reason": "eos",
                "num_cached_prompt_tokens": 2,
                "num_completion_tokens": 3,
                "num_reasoning_tokens": 1,
                "queue_s": 0.1235,
                "ttft_s": 0.5679,
                "prefill_s": 0.4,
                "decode_s": 2.0,
                "tokens_per_second": 1.0,
            },
        ),
        (
            CallFinished(FinishReason.LENGTH, 4, 0, 0, 0, 0.0, None, None, 0.0),
            {
                "outcome": "finished",
                "code": "OK",
                "finish_reason": "length",
                "num_cached_prompt_tokens": 0,
                "num_completion_tokens": 0,
                "num_reasoning_tokens": 0,
                "queue_s": 0.0,
                "decode_s": 0.0,
                "tokens_per_second": 0.0,
            },
        ),
    ],
)
def test_line_says_how_it_ended(outcome: CallOutcome, described: dict[str, Any]) -> None:
    """One line has who asked, the time and how the request ended, and nothing that was said."""
    ended = EndedRequest(CALL, outcome, TIMELINE, 4, started=None, num_completion_tokens=0)
    assert line_of(ended) == {"model": "m", "num_prompt_tokens": 4, **COMMON, **described}


def test_line_of_a_request_that_broke_off() -> None:
    """What came about before the end is told, too."""
    timeline = Timeline(10.0, None, None, None, None, 10.5, 11.0, ended_s=11.23456)
    ended = EndedRequest(CALL, CallAborted(), timeline, 4, started=None, num_completion_tokens=7)
    line = line_of(ended)
    assert (line["num_prompt_tokens"], line["num_completion_tokens"]) == (4, 7)
    assert line["ttft_s"] == 0.5


def test_line_of_a_request_that_went_on() -> None:
    """How often another engine went on with it is told, where one did."""
    ended = EndedRequest(CALL, CallAborted(), TIMELINE, 4, started=None, num_completion_tokens=7)
    assert "num_continuations" not in line_of(ended)
    paused = replace(ended, pauses=(Pause(1.0, 2.0), Pause(3.0, 4.0), Pause(5.0)))
    assert line_of(paused)["num_continuations"] == 2


def test_what_is_not_known_is_left_out() -> None:
    """A call without trace, key and rendered prompt has no empty fields."""
    ended = EndedRequest(CHAT, CallAborted(), TIMELINE, None, None, num_completion_tokens=0)
    assert line_of(ended) == {
        "request_id": "r",
        "peer": "",
        "method": "tokenwire.v1.InferenceService/Chat",
        "model": "m",
        "duration_s": 1.2346,
        "outcome": "aborted",
        "code": "CANCELLED",
    }


def test_the_name_of_a_model_that_is_not_here_is_not_logged() -> None:
    """It may be any text of the caller's."""
    outcome = CallFailed("UNSUPPORTED_MODEL")
    ended = EndedRequest(CALL, outcome, TIMELINE, None, None, num_completion_tokens=0)
    assert "model" not in line_of(ended)
