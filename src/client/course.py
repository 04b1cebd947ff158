"""One generation over as many calls as it takes: tries before it begins, resumes behind that."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import grpc
from google.protobuf.duration_pb2 import Duration

from ..generated.tokenwire.v1 import inference_pb2
from .answer import AnswerBuilder
from .attempts import Attempts
from .errors import StreamLost, TokenwireError
from .events import Event, Progress, Started, decode_events

LEAVE_TIMEOUT_S: Final = 1.0
"""How long it may take to tell the server that nobody comes back. Else `detach_timeout` ends it."""

_FIRST_DELAY_S = 0.05
_LONGEST_DELAY_S = 2.0
# Replicas behind one name are asked in turn, and only one of them has the request.
_MAX_TIMES_UNKNOWN = 4
# What is no lost connection may be said of any call, also the next one.
_MAX_TIMES_BROKEN = 3
# gRPC's own words of a call that was never sent.
_NEVER_SENT = "last error: "
_EXPIRED = "RESUME_EXPIRED"
_DRAINING = "DRAINING"
_LOSSES = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.CANCELLED,
)


Metadata = tuple[tuple[str, str], ...]
GenerationRequest = inference_pb2.ChatRequest | inference_pb2.GenerateRequest


class Course:
    """Where one generation stands. `Stream` and `AsyncStream` read the calls that it starts.

        call = course.start_call()
        for response in call:
            yield from course.take(response)
        delay_s = course.delay_after(error)  # where that failed
        call = course.start_leaving()        # where the reader has enough

    With a `detach_timeout` in the request a call that is lost in the middle is followed by one that
    resumes the same generation. Only one that no server knows any more, and of which nothing had
    been told, is sent anew.
    """

    def __init__(
        self,
        method: Callable[..., Any],
        request: GenerationRequest,
        metadata: Metadata,
        attempts: Attempts,
    ) -> None:
        # Any: a stub's methods have the type of their one request each.
        self._method = method
        self._request = request
        self._metadata = metadata
        self._attempts = attempts
        self._detach_s = request.detach_timeout.ToTimedelta().total_seconds()
        self._request_id = dict(metadata).get("x-request-id", "")
        if self._detach_s and not self._request_id:
            self._request_id = uuid.uuid4().hex
            self._metadata = (*metadata, ("x-request-id", self._request_id))
        self._builder = AnswerBuilder()
        self._position = 0
        self._has_started = False
        self._is_over = False
        self._lost: TokenwireError | None = None
        self._lost_s = 0.0
        self._is_heard = False
        self._num_losses = 0
        self._num_unknown = 0
        self.is_whole = False

    def start_call(self) -> Any:
        """Starts the next call, with what is left until the deadline."""
        request = self._request if self._lost is None else self._resume()
        timeout_s = self._attempts.remaining_s()
        return self._method(request, timeout=timeout_s, metadata=self._metadata)

    def take(self, response: Any) -> Iterator[Event]:
        """Yields what is new in one message."""
        self._is_heard = True
        self._num_unknown = 0
        if response.position > self._position:
            self._position = response.position
            self._num_losses = 0
        self.is_whole = response.HasField("finished")
        for event in decode_events(response):
            if isinstance(event, Started):
                if self._has_started:
                    continue  # told again by a call that resumes
                self._has_started = True
                self._request_id = event.request_id  # the server's, where it did not take ours
            elif not isinstance(event, Progress):
                self._has_started = True
            if self._detach_s:
                self._builder.add(event)
            yield event

    def delay_after(self, error: TokenwireError) -> float:
        """Returns how long to wait before the next call.

        Raises:
            TokenwireError: there is none; `error`, or one that says why.
        """
        delay_s = self._delay_of_resume(error) if self._detach_s else None
        if delay_s is not None:
            return delay_s
        again_s = None if self._has_started or self._lost else self._attempts.delay_after(error)
        if again_s is None:
            # What the server says of the request is its end; what else it is, nobody knows.
            self._is_over = bool(error.reason) or _NEVER_SENT in error.failure.message
            raise error
        return again_s

    def start_leaving(self) -> Any:
        """Starts a call that ends the request on the server, None where it has ended or will."""
        if not self._detach_s or self.is_whole or self._is_over:
            return None
        request = self._resume()
        request.detach_timeout.CopyFrom(Duration())
        return self._method(request, timeout=LEAVE_TIMEOUT_S, metadata=self._metadata)

    def _delay_of_resume(self, error: TokenwireError) -> float | None:
        """Returns how long to wait before the request is taken up; None: it cannot be."""
        if self._lost is None:
            is_unsent = not self._has_started and _NEVER_SENT in error.failure.message
            if not _is_loss(error) or is_unsent:
                return None
        elif error.reason in (_EXPIRED, _DRAINING):
            self._num_unknown += 1
            is_known = "oldest_position" in error.failure.metadata
            if is_known or self._num_unknown >= _MAX_TIMES_UNKNOWN:
                again_s = None if is_known else self._delay_anew()
                if again_s is not None:
                    return again_s
                self._is_over = True
                raise self._give_up(error)
        elif not _is_loss(error) and error.code is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            return None
        if self._is_heard or self._lost is None:
            self._lost_s = time.monotonic()
            self._is_heard = False
        if error.reason not in (_EXPIRED, _DRAINING):
            self._lost = error
        self._num_losses += 1
        is_away = error.code is grpc.StatusCode.UNAVAILABLE or error.reason == _EXPIRED
        if not is_away and self._num_losses > _MAX_TIMES_BROKEN:
            raise self._give_up(error)
        return self._wait_of(error)

    def _delay_anew(self) -> float | None:
        """Returns how long to wait before the request is sent anew; None: it is not.

        No server knows it and none had told of it: one that ended took it along, unbegun mostly.
        """
        if self._has_started or self._lost is None:
            return None
        delay_s = self._attempts.delay_after(self._lost)
        if delay_s is not None:
            self._lost = None
            self._num_losses = self._num_unknown = 0
        return delay_s

    def _wait_of(self, error: TokenwireError) -> float:
        delay_s = error.retry_after_s
        if delay_s is None:
            # At once, then slower and slower.
            steps = min(self._num_losses, 10) - 2
            delay_s = 0.0 if steps < 0 else min(_FIRST_DELAY_S * 2**steps, _LONGEST_DELAY_S)
        remaining_s = self._attempts.remaining_s()
        is_late = remaining_s is not None and delay_s >= remaining_s
        if is_late or time.monotonic() + delay_s > self._lost_s + self._detach_s:
            raise self._give_up(error)
        return delay_s

    def _give_up(self, error: TokenwireError) -> TokenwireError:
        if not self._has_started and error.reason == _EXPIRED and self._lost is not None:
            return self._lost  # it may never have arrived: no more is known than before
        failure = replace(
            error.failure,
            message="the connection was lost, and the request could not be resumed: "
            + error.failure.message,
            request_id=error.request_id or self._request_id,
        )
        return StreamLost(failure, self._builder.received())

    def _resume(self) -> Any:
        request = type(self._request)(
            delivery=self._request.delivery,
            progress=self._request.progress,
            return_token_ids=self._request.return_token_ids,
        )
        request.resume.request_id = self._request_id
        request.resume.after_position = self._position
        return request


def _is_loss(error: TokenwireError) -> bool:
    """Whether the connection was lost, and not the request: of that the server gives a reason."""
    return not error.reason and error.code in _LOSSES
