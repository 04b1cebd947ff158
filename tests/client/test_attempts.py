"""How soon a failed call is made again, and how often."""

from __future__ import annotations

import grpc
import pytest
from tokenwire.client.attempts import Attempts, RetryPolicy
from tokenwire.client.errors import Failure, TokenwireError, make_error


def failing(code: grpc.StatusCode, reason: str, retry_after_s: float | None) -> TokenwireError:
    return make_error(Failure(code, "no", reason=reason, retry_after_s=retry_after_s))


@pytest.mark.parametrize("reason", ["DRAINING", "MODEL_LOADING"])
def test_another_server_is_asked_soon(reason: str) -> None:
    """What one server says of itself is tried again elsewhere first, then as the server says."""
    attempts = Attempts(RetryPolicy(max_attempts=3), None)
    error = failing(grpc.StatusCode.UNAVAILABLE, reason, 5.0)
    delays_s = [attempts.delay_after(error) for _ in range(11)]
    assert delays_s == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0, None]


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
def test_a_lost_connection_is_tried_twice(code: grpc.StatusCode) -> None:
    """A call that nobody answered is made again twice, and soon: a dead server is told quickly."""
    attempts = Attempts(RetryPolicy(), None)
    error = failing(code, "", None)
    assert [attempts.delay_after(error) for _ in range(3)] == [0.05, 0.1, None]


def test_other_failures_wait_as_the_server_says() -> None:
    """A full server is not asked again before its time."""
    attempts = Attempts(RetryPolicy(max_attempts=2), None)
    error = failing(grpc.StatusCode.UNAVAILABLE, "AT_CAPACITY", 5.0)
    assert [attempts.delay_after(error) for _ in range(2)] == [5.0, None]


def test_once_is_once() -> None:
    """Who wants one try gets one."""
    attempts = Attempts(RetryPolicy(max_attempts=1), None)
    assert attempts.delay_after(failing(grpc.StatusCode.UNAVAILABLE, "DRAINING", 5.0)) is None
