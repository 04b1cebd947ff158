"""What is kept of requests whose callers may come back, and what goes first."""

from __future__ import annotations

import asyncio
import gc
import weakref
from types import SimpleNamespace
from typing import Any

import pytest
from tokenwire.generated.tokenwire.v1 import inference_pb2
from tokenwire.server.contract.errors import AtCapacity, NotKept, ResumeExpired
from tokenwire.server.contract.events import TextDelta
from tokenwire.server.request.calls import Call, CallContext
from tokenwire.server.request.kept_requests import KeptRequest, KeptRequests, ResumeOutcome
from tokenwire.server.request.log.request_log import RequestLog
from tokenwire.server.rpc.codecs.request_codec import decode_generate

KIB = 1024


class Running:
    """Stands for a request that runs: what is kept of it says what the test has it say."""

    def __init__(self, call: Call, log: RequestLog) -> None:
        self.call = call
        self.log = log
        self.task = SimpleNamespace(add_done_callback=lambda _: None)

    def cancel(self, outcome: object) -> None:
        pass


def keep(requests: KeptRequests, request_id: str, num_kib: int = 0) -> KeptRequest:
    """Keeps a request that says so much, in deltas of about a kibibyte."""
    asked = inference_pb2.GenerateRequest(model="m", text="go")
    call = decode_generate(asked, CallContext(request_id))
    running: Any = Running(call, requests.new_log())
    kept = requests.keep(running, "Chat", timeout_s=60)
    for _ in range(num_kib):
        kept.log.append(TextDelta("x" * KIB, 1))
    return kept


def has(requests: KeptRequests, request_id: str) -> bool:
    try:
        requests.find("Chat", request_id, "")
    except NotKept:
        return False
    return True


def test_those_that_ended_go_first_the_oldest_of_them_at_first() -> None:
    """What one says that runs costs those their place that nobody may come back for."""
    requests = KeptRequests(64 * KIB, 64 * KIB, 60)
    running = keep(requests, "running", 10)
    for request_id in ("older", "newer"):
        keep(requests, request_id, 10).log.close()
    for _ in range(20):
        running.log.append(TextDelta("x" * KIB, 1))
    assert [has(requests, name) for name in ("running", "older", "newer")] == [True, False, True]
    assert running.log.num_bytes > 30 * KIB


async def test_one_that_is_read_is_no_idle_one() -> None:
    """Whoever reads the end of a request is not cut off, whatever others say."""
    requests = KeptRequests(64 * KIB, 64 * KIB, 60)
    ended = keep(requests, "ended", 10)
    with ended.log.read() as reader, ended.attached(reader):
        ended.log.close()
        keep(requests, "running", 60)
        assert has(requests, "ended")
        assert await reader.take() is not None


def test_longest_loses_its_first_half() -> None:
    """Where all of them run, one that said much does not cost one that said little."""
    requests = KeptRequests(64 * KIB, 64 * KIB, 60)
    short = keep(requests, "short", 5)
    long = keep(requests, "long", 60)
    assert requests.num_bytes <= 64 * KIB
    short.log.check_kept(0)
    with pytest.raises(ResumeExpired):
        long.log.check_kept(0)
    long.log.check_kept(long.log.position)


def test_only_those_that_nothing_can_be_kept_of_are_refused() -> None:
    """As many are kept as their bare minimum has room for; the next hears the limit."""
    requests = KeptRequests(64 * KIB, 64 * KIB, 60)
    for number in range(16):
        keep(requests, f"r{number}", 1)
    with pytest.raises(AtCapacity, match="16 at most"):
        keep(requests, "r16")
    requests.find("Chat", "r3", "").log.close()
    keep(requests, "r16")
    assert len(requests) == 16


def test_a_time_at_the_limit_and_above() -> None:
    """A request waits as long as the limit for its caller, and no longer, whatever he asks."""
    requests = KeptRequests(64 * KIB, 64 * KIB, max_timeout_s=60)
    kept = keep(requests, "r")  # for 60 s
    assert kept.timeout_s == 60
    for asked_s, given_s in ((59.0, 59.0), (60.5, 60), (1e9, 60), (0.0, 0.0)):
        requests.set_timeout(kept, asked_s)
        assert kept.timeout_s == given_s


def test_bytes_are_counted_as_they_come_and_go() -> None:
    """With the last request the count is back at nothing."""
    requests = KeptRequests(64 * KIB, 64 * KIB, 60)
    kept = [keep(requests, f"r{number}", 40) for number in range(3)]
    assert 0 < requests.num_bytes <= 64 * KIB
    requests.close()
    for one in kept:
        one.log.append(TextDelta("late", 1))
    assert (len(requests), requests.num_bytes) == (0, 0)


async def test_one_that_was_dropped_waits_for_nobody() -> None:
    """A reader that leaves a request which has been dropped leaves nothing behind."""
    requests = KeptRequests(64 * KIB, 64 * KIB, 60)
    kept = keep(requests, "r1", 10)
    log: weakref.ref[RequestLog] = weakref.ref(kept.log)
    reader = kept.log.read()
    with reader, kept.attached(reader):
        requests.close()
    del kept, reader
    gc.collect()
    await asyncio.sleep(0)
    assert log() is None


def test_outcomes_of_resumes_are_counted() -> None:
    """Each call that resumes is one of the three."""
    requests = KeptRequests(64 * KIB, 64 * KIB, 60)
    keep(requests, "r1")
    with requests.counting():
        requests.find("Chat", "r1", "")
    for method, request_id in (("Chat", "r2"), ("Generate", "r1")):
        with pytest.raises(Exception, match=r"r2|Chat began"), requests.counting():
            requests.find(method, request_id, "")
    assert requests.num_resumes == dict.fromkeys(ResumeOutcome, 1)
