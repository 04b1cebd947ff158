"""The log line of a request."""

from __future__ import annotations

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
from tokenwire.server.request.clock import Timeline
from tokenwire.server.request.ended_request import EndedRequest
from tokenwire.server.rpc.request_codec import decode_generate
from tokenwire.server.telemetry.request_line import log_request

CALL = decode_generate(
    inference_pb2.GenerateRequest(model="m", text="canary-prompt"), CallContext("r")
)
TIMELINE = Timeline(10.0, None, None, None, None, None, None, ended_s=11.23456)


@pytest.mark.parametrize(
    ("outcome", "described"),
    [
        (CallAborted(), {"outcome": "aborted"}),
        (CallFailed("QUEUE_TIMEOUT"), {"outcome": "QUEUE_TIMEOUT"}),
        (CallFailed("ENGINE_LOST", "why"), {"outcome": "ENGINE_LOST", "detail": "why"}),
        (
            CallFinished(FinishReason.EOS, 4, 2, 3, 1, 0.12345, 0.56789, 0.4, 2.0),
            {
                "outcome": "finished",
                "finish_reason": "eos",
                "num_prompt_tokens": 4,
                "num_cached_prompt_tokens": 2,
                "num_completion_tokens": 3,
                "queue_s": 0.1235,
                "ttft_s": 0.5679,
                "tokens_per_second": 1.0,
            },
        ),
        (
            CallFinished(FinishReason.LENGTH, 4, 0, 0, 0, 0.0, None, None, 0.0),
            {
                "outcome": "finished",
                "finish_reason": "length",
                "num_prompt_tokens": 4,
                "num_cached_prompt_tokens": 0,
                "num_completion_tokens": 0,
                "queue_s": 0.0,
                "ttft_s": None,
                "tokens_per_second": 0.0,
            },
        ),
    ],
)
def test_line_says_how_it_ended(outcome: CallOutcome, described: dict[str, Any]) -> None:
    """One line has the model, the time and how the request ended, and nothing that was said."""
    with capture_logs() as lines:
        log_request(EndedRequest(CALL, outcome, TIMELINE, 4, started=None, num_completion_tokens=0))
    (line,) = lines
    assert line.pop("event") == "request"
    assert line.pop("log_level") == "info"
    assert line == {"model": "m", "duration_s": 1.2346, **described}
