"""What a request carries beside its body: its id, its trace and its deadline."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from .errors import invalid

REQUEST_ID_HEADER = "X-Request-Id"
TIMEOUT_HEADER = "grpc-timeout"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_TRACESTATE = re.compile(r"[\x20-\x7e]{1,512}")
_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])")
_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


@dataclass(frozen=True, slots=True)
class RequestContext:
    """Id, trace and deadline of one HTTP request. `timeout` is the header as it came."""

    request_id: str
    arrived_s: float
    traceparent: str | None = None
    tracestate: str | None = None
    timeout: str | None = None

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> RequestContext:
        """Takes over what is well-formed; a request without a sane id gets one."""
        request_id = headers.get(REQUEST_ID_HEADER, "")
        traceparent = headers.get("traceparent", "")
        tracestate = headers.get("tracestate", "")
        is_traced = _TRACEPARENT.fullmatch(traceparent) is not None
        return cls(
            request_id=request_id if _REQUEST_ID.fullmatch(request_id) else uuid.uuid4().hex,
            arrived_s=time.monotonic(),
            traceparent=traceparent if is_traced else None,
            tracestate=tracestate if is_traced and _TRACESTATE.fullmatch(tracestate) else None,
            timeout=headers.get(TIMEOUT_HEADER),
        )

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Returns the metadata of the gRPC call that serves the request."""
        named = (
            ("x-request-id", self.request_id),
            ("traceparent", self.traceparent),
            ("tracestate", self.tracestate),
        )
        return tuple((name, value) for name, value in named if value is not None)

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
