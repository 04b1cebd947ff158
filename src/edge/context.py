"""What a request carries beside its body: its id, its trace, its deadline and its key."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web

from ..tracing.trace_context import NO_TRACE, TraceContext
from .errors import Failure, invalid

REQUEST_ID_HEADER = "X-Request-Id"
TIMEOUT_HEADER = "grpc-timeout"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])")
# What may hold a key; anything else, such as a proxy's own header, goes no further.
_CREDENTIALS = {
    "authorization": re.compile(r"(?i:bearer) +[\x21-\x7e]{1,256}"),
    "x-api-key": re.compile(r"[\x21-\x7e]{1,256}"),
}
_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


@dataclass(frozen=True, slots=True)
class RequestContext:
    """Id, trace, deadline and key of one HTTP request. `timeout` is the header as it came.

    `trace` is our span of the request, or the caller's where we make none.
    `credentials` are the headers that may hold a key, for the front, which alone knows the keys.
    """

    request_id: str
    arrived_s: float
    trace: TraceContext = NO_TRACE
    timeout: str | None = None
    credentials: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> RequestContext:
        """Takes over what is well-formed; a request without a sane id gets one."""
        request_id = headers.get(REQUEST_ID_HEADER, "")
        return cls(
            request_id=request_id if _REQUEST_ID.fullmatch(request_id) else uuid.uuid4().hex,
            arrived_s=time.monotonic(),
            trace=TraceContext.read(headers.get("traceparent", ""), headers.get("tracestate", "")),
            timeout=headers.get(TIMEOUT_HEADER),
            credentials=tuple(
                (name, headers[name])
                for name, form in _CREDENTIALS.items()
                if form.fullmatch(headers.get(name, ""))
            ),
        )

    def metadata(self, trace: TraceContext | None = None) -> tuple[tuple[str, str], ...]:
        """Returns the metadata of the gRPC call that serves the request, as part of `trace`."""
        return (
            ("x-request-id", self.request_id),
            *(trace or self.trace).headers(),
            *self.credentials,
        )

    def remaining_s(self) -> float | None:
        """Returns the seconds left until the caller's deadline, None without one.

        Raises:
            EdgeError: the header is malformed.
        """
        if self.timeout is None:
            return None
        match = _TIMEOUT.fullmatch(self.timeout)
        if match is None:
            raise invalid(TIMEOUT_HEADER, "must be up to 8 digits and a unit of H, M, S, m, u, n")
        seconds = int(match[1]) * _SECONDS[match[2]]
        return max(0.0, seconds - (time.monotonic() - self.arrived_s))


CONTEXT = web.RequestKey("context", RequestContext)
# Set where a request failed, also behind the head of its answer.
FAILURE = web.RequestKey("failure", Failure)
