"""What is taken over of a caller's trace."""

from __future__ import annotations

import pytest
from tokenwire.tracing.trace_context import NO_TRACE, TraceContext

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"
GOOD = f"00-{TRACE_ID}-{SPAN_ID}-01"


def test_a_trace_is_taken_over() -> None:
    """Its ids and its flag are read, and both headers go on as they came."""
    trace = TraceContext.read(GOOD, "vendor=1")
    assert (trace.trace_id, trace.span_id, trace.is_sampled) == (TRACE_ID, SPAN_ID, True)
    assert trace.headers() == (("traceparent", GOOD), ("tracestate", "vendor=1"))


@pytest.mark.parametrize(("flags", "is_sampled"), [("00", False), ("02", False), ("03", True)])
def test_the_sampled_flag_is_one_bit(flags: str, is_sampled: bool) -> None:
    """Other flags say nothing about it, and go on."""
    trace = TraceContext.read(f"00-{TRACE_ID}-{SPAN_ID}-{flags}")
    assert trace.is_sampled is is_sampled
    assert trace.traceparent.endswith(flags)


@pytest.mark.parametrize("rest", ["", "-what-comes-later"])
def test_a_later_version_is_read_as_this_one(rest: str) -> None:
    """A version above 00 may say more; what it says beyond ours is left out."""
    assert TraceContext.read(f"cc-{TRACE_ID}-{SPAN_ID}-01{rest}").traceparent == GOOD


@pytest.mark.parametrize(
    "unfit",
    [
        "",
        "00-nonsense",
        GOOD.upper(),
        f"ff-{TRACE_ID}-{SPAN_ID}-01",
        f"00-{'0' * 32}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"{GOOD}-more",
        f"cc-{TRACE_ID}-{SPAN_ID}-01more",
        f" {GOOD}",
        f"{GOOD}\n",
    ],
)
def test_what_is_malformed_is_no_trace(unfit: str) -> None:
    """It is left out whole, with the state beside it."""
    trace = TraceContext.read(unfit, "vendor=1")
    assert trace is NO_TRACE
    assert (trace.trace_id, trace.span_id, trace.is_sampled) == ("", "", False)
    assert trace.headers() == ()


@pytest.mark.parametrize("state", ["", "ä=1", "a=b\n", "x" * 513])
def test_a_state_that_is_malformed_is_left_out(state: str) -> None:
    """The trace goes on without it."""
    assert TraceContext.read(GOOD, state).headers() == (("traceparent", GOOD),)
