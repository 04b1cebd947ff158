"""How a request ended, in the words of labels."""

from __future__ import annotations

from typing import Final

from ...request.calls import (
    DEADLINE_EXCEEDED,
    INTERNAL,
    CallAborted,
    CallFailed,
    CallFinished,
    CallOutcome,
)

CLIENT_LEFT: Final = "CLIENT_LEFT"
"""The cause of an abort that the caller wanted."""

UNKNOWN_MODEL: Final = "unknown"
"""The model of a request whose model is not served: its own text would be a label without bound."""

ABORT_CAUSES: Final = (
    CLIENT_LEFT,
    DEADLINE_EXCEEDED,
    "DRAINING",
    "ENGINE_LOST",
    "GENERATION_FAILED",
    "RESUME_EXPIRED",
    INTERNAL,
)

REJECT_REASONS: Final = (
    "INVALID_REQUEST",
    "CONTEXT_TOO_LONG",
    "UNSUPPORTED_MODEL",
    "AT_CAPACITY",
    "QUEUE_TIMEOUT",
    "GPU_PRESSURE",
    "MODEL_LOADING",
    "MODEL_LOAD_FAILED",
    "ENGINE_LOST",
    "DRAINING",
    DEADLINE_EXCEEDED,
    "GENERATION_FAILED",
    INTERNAL,
)


def failure_of(outcome: CallOutcome) -> str:
    """Returns the reason of an end that was no good one, empty for a good one."""
    match outcome:
        case CallFinished():
            return ""
        case CallAborted():
            return CLIENT_LEFT
        case CallFailed(reason):
            return reason
