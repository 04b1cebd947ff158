"""What both clients know of their server, and how each call goes out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from .attempts import Attempts, RetryPolicy
from .course import Course, GenerationRequest, Metadata

KEY_VARIABLE: Final = "LLM_API_KEY"
DEFAULT_TARGET: Final = "localhost:50051"
DEFAULT_TIMEOUT_S: Final = 600.0
DEFAULT_DETACH_TIMEOUT_S: Final = 30.0
UNARY_TIMEOUT_S: Final = 60.0


class Unset:
    """Stands for an argument that was not given, where None means something."""


UNSET: Final = Unset()
Timeout = float | None | Unset


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What one call of a generation says beside its request."""

    timeout_s: Timeout
    request_id: str


@dataclass(frozen=True, slots=True)
class Connection:
    """The defaults of every call. `timeout_s` None: generations have no deadline."""

    model: str
    timeout_s: float | None
    retries: RetryPolicy
    key_metadata: Metadata
    detach_timeout_s: float

    @classmethod
    def of(
        cls,
        model: str,
        timeout_s: float | None,
        retries: RetryPolicy,
        api_key: str | None,
        detach_timeout_s: float,
    ) -> Connection:
        """Makes one; without `api_key` the variable LLM_API_KEY has the key, if any."""
        key = os.environ.get(KEY_VARIABLE, "") if api_key is None else api_key
        metadata = (("authorization", f"Bearer {key}"),) if key else ()
        return cls(model, timeout_s, retries, metadata, detach_timeout_s)

    def name_model(self, model: str) -> str:
        """Returns the model that a call is for.

        Raises:
            TypeError: neither the call nor the client names one.
        """
        name = model or self.model
        if not name:
            raise TypeError("name a model, in the call or as `model` of the client")
        return name

    def metadata(self, request_id: str = "") -> Metadata:
        """Returns the metadata of a call."""
        own = (("x-request-id", request_id),) if request_id else ()
        return (*self.key_metadata, *own)

    def attempts(self, timeout_s: Timeout) -> Attempts:
        """Returns the tries of a generation."""
        limit_s = self.timeout_s if isinstance(timeout_s, Unset) else timeout_s
        return Attempts(self.retries, limit_s)

    def course(
        self, method: Callable[..., Any], request: GenerationRequest, call: CallOptions
    ) -> Callable[[], Course]:
        """Returns what begins a generation, once somebody reads it."""
        # Any: a stub's methods have the type of their one request each.
        is_silent = not call.request_id and not request.HasField("detach_timeout")
        if is_silent and self.detach_timeout_s > 0:
            request.detach_timeout.FromNanoseconds(round(self.detach_timeout_s * 1e9))
        metadata = self.metadata(call.request_id)
        return lambda: Course(method, request, metadata, self.attempts(call.timeout_s))
