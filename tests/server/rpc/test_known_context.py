"""What is known about a call before its message is."""

from __future__ import annotations

import time

import pytest
from tokenwire.server.request.calls import CallContext
from tokenwire.server.rpc.known_context import has_deadline_passed


@pytest.mark.parametrize(
    ("rest_s", "has_passed"), [(None, False), (30.0, False), (0.0, True), (-1.0, True)]
)
def test_deadline_is_told_from_a_caller_who_left(rest_s: float | None, has_passed: bool) -> None:
    """A call that is cancelled before its deadline was cancelled by its caller."""
    now_s = time.monotonic()
    call = CallContext("r", None if rest_s is None else now_s + rest_s)
    assert has_deadline_passed(call, now_s - 10) is has_passed
