"""Everything that can go wrong for a caller, each with a stable reason.

A reason is a value of `tokenwire.v1.ErrorReason` without its prefix; codes, statuses and retries
stand there, once.
"""

from __future__ import annotations

import math
from typing import ClassVar


class InferenceError(Exception):
    """A failure that the caller gets with a reason and a message of its own.

    `metadata` becomes `google.rpc.ErrorInfo.metadata`; `violations` are field paths, with proto
    field names and dots, and what is wrong with each.

    `message` never holds a path, or an engine's own words: those go into `detail`, which the log
    gets and no caller does:

        raise ModelLoadFailed("the files of 'owner/name' are not whole", detail=f"{path}: {why}")
    """

    reason: ClassVar[str]
    violations: tuple[tuple[str, str], ...] = ()
    retry_after_s: int | None = None
    """When another try is worthwhile, where that is known better than by the reason alone."""

    def __init__(
        self, message: str, *, metadata: dict[str, str] | None = None, detail: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = metadata or {}
        self.detail = detail

    def move_fields_below(self, field: str) -> None:
        """Names the fields as a message has them that holds the request in `field`."""
        if self.violations:
            self.violations = tuple((f"{field}.{path}", text) for path, text in self.violations)
            self.message = "; ".join(f"{path}: {text}" for path, text in self.violations)


class InvalidRequest(InferenceError):
    """Fields are missing, malformed or out of range. `violations` names each one."""

    reason = "INVALID_REQUEST"

    def __init__(self, field: str, description: str, *others: tuple[str, str]) -> None:
        self.violations = ((field, description), *others)
        super().__init__("; ".join(f"{path}: {text}" for path, text in self.violations))


class ContextTooLong(InferenceError):
    """The prompt leaves no room for one token."""

    reason = "CONTEXT_TOO_LONG"

    def __init__(
        self, field: str, num_prompt_tokens: int, context_length: int, *, is_exact: bool = True
    ) -> None:
        count = f"{num_prompt_tokens}" if is_exact else f"at least {num_prompt_tokens}"
        description = (
            f"has {count} tokens, the context of the model holds {context_length} "
            "and one must be left for the answer"
        )
        self.violations = ((field, description),)
        super().__init__(
            f"{field}: {description}",
            metadata={"limit": str(context_length), "actual": str(num_prompt_tokens)},
        )


class UnsupportedModel(InferenceError):
    """No model of this id is served."""

    reason = "UNSUPPORTED_MODEL"

    def __init__(self, model_id: str, offered: list[str]) -> None:
        names = ", ".join(f"'{name}'" for name in offered)
        super().__init__(f"no model '{model_id}' here; this server offers {names}")
        self.model_id = model_id


class AtCapacity(InferenceError):
    """Every slot is busy and the queue is full."""

    reason = "AT_CAPACITY"


class QueueTimeout(InferenceError):
    """No slot became free in time."""

    reason = "QUEUE_TIMEOUT"


class DeadlineUnreachable(InferenceError):
    """The caller's deadline would pass before a slot is expected to be free."""

    reason = "DEADLINE_UNREACHABLE"

    def __init__(self, expected_wait_s: float, remaining_s: float) -> None:
        super().__init__(
            f"the deadline is {remaining_s:.1f} s away, the expected wait for a slot is "
            f"{expected_wait_s:.1f} s",
            metadata={
                "remaining_ms": str(round(remaining_s * 1000)),
                "expected_wait_ms": str(round(expected_wait_s * 1000)),
            },
        )


class GpuMemoryFull(InferenceError):
    """More of a GPU's memory is in use than the operator allows."""

    reason = "GPU_PRESSURE"

    def __init__(self, used_percent: float, limit_percent: float) -> None:
        super().__init__(
            f"GPU memory use is {used_percent:.1f} %, the limit is {limit_percent:.1f} %",
            metadata={"limit": f"{limit_percent:.1f}", "actual": f"{used_percent:.1f}"},
        )


class ModelLoading(InferenceError):
    """The model is being fetched, loaded or restarted."""

    reason = "MODEL_LOADING"


class ModelLoadFailed(InferenceError):
    """The model could not be loaded. Callers see the message in `ListModels`, too."""

    reason = "MODEL_LOAD_FAILED"


class LoadKilled(ModelLoadFailed):
    """The load was ended from outside, as a kernel without memory does: another may succeed."""


class EngineLost(InferenceError):
    """The engine died."""

    reason = "ENGINE_LOST"

    def __init__(
        self, message: str = "the engine of the model stopped while it served this request"
    ) -> None:
        super().__init__(message)


class Draining(InferenceError):
    """The server is shutting down."""

    reason = "DRAINING"


class GenerationFailed(InferenceError):
    """The engine refused or failed a request for a reason of its own."""

    reason = "GENERATION_FAILED"


class TakenOver(InferenceError):
    """Another call reads the request now."""

    reason = "TAKEN_OVER"

    def __init__(self) -> None:
        super().__init__("another call resumed this request, and gets what it says from here on")


class NotKept(InferenceError):
    """No request of this id is kept for this caller."""

    reason = "RESUME_EXPIRED"

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"no request '{request_id}' is kept: it never had a detach_timeout, or its time is over"
        )


class ResumeExpired(InferenceError):
    """What a reader has not taken yet is not kept any more."""

    reason = "RESUME_EXPIRED"

    def __init__(self, position: int, oldest: int) -> None:
        super().__init__(
            f"position {position} is no longer kept, the oldest is {oldest}",
            metadata={"oldest_position": str(oldest)},
        )


class AccessRefused(InferenceError):
    """The caller may not do this, or not now. `key` is the name of the caller's key, if known."""

    key = ""


class Unauthenticated(AccessRefused):
    """An API key is needed, and the call came with none that is good."""

    reason = "UNAUTHENTICATED"


class PermissionDenied(AccessRefused):
    """The key of the call is good, and not for this."""

    reason = "PERMISSION_DENIED"


class QuotaExceeded(AccessRefused):
    """The key of the call has used what it may."""

    reason = "QUOTA_EXCEEDED"

    def __init__(
        self,
        message: str,
        *,
        limit: int,
        actual: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        used = {} if actual is None else {"actual": str(actual)}
        super().__init__(message, metadata={"limit": str(limit), **used})
        self.retry_after_s = None if retry_after_s is None else math.ceil(retry_after_s)
