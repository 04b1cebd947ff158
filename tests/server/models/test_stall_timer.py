from __future__ import annotations

import pytest
from tokenwire.server.models.stall_timer import StallTimer

from .hand_clock import HandClock

STALL_S = 100.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    made = HandClock()
    monkeypatch.setattr("tokenwire.server.models.stall_timer.get_running_loop", lambda: made)
    return made


@pytest.fixture
def stalls() -> list[float]:
    return []


@pytest.fixture
def timer(clock: HandClock, stalls: list[float]) -> StallTimer:
    timer = StallTimer(STALL_S, lambda: stalls.append(clock.time()))
    timer.start()
    return timer


def test_silence_under_work_is_a_stall(
    clock: HandClock, timer: StallTimer, stalls: list[float]
) -> None:
    """A request that runs without a sign for the time is a stall, and not before."""
    with timer.work():
        clock.advance(99)
        assert stalls == []
        clock.advance(1)
    assert stalls == [100.0]


def test_signs_keep_it_off(clock: HandClock, timer: StallTimer, stalls: list[float]) -> None:
    """With a sign now and then an answer may take any time; when they cease, it is a stall."""
    with timer.work():
        for _ in range(10):
            clock.advance(90)
            timer.record_sign()
        assert stalls == []
        clock.advance(100)
    assert stalls == [1000.0]


def test_sign_of_one_request_is_enough(
    clock: HandClock, timer: StallTimer, stalls: list[float]
) -> None:
    """A second request does not start the time anew, and the end of one does not stop it."""
    with timer.work():
        clock.advance(60)
        with timer.work():
            clock.advance(30)
        clock.advance(10)
    assert stalls == [100.0]


def test_time_without_work_does_not_count(
    clock: HandClock, timer: StallTimer, stalls: list[float]
) -> None:
    """An engine that has nothing to do may be silent, and nothing is scheduled meanwhile."""
    with timer.work():
        clock.advance(40)
        timer.record_sign()
    assert clock.timers == []
    clock.advance(1000)
    with timer.work():
        clock.advance(99)
    assert stalls == []


def test_silence_adds_up_over_requests(
    clock: HandClock, timer: StallTimer, stalls: list[float]
) -> None:
    """Requests that give up before the time, one after another, do not hide a frozen engine."""
    for _ in range(4):
        with timer.work():
            clock.advance(30)
        clock.advance(500)
    assert stalls == [30 * 3 + 500 * 3 + 10]


def test_goes_on_after_a_stall(clock: HandClock, timer: StallTimer, stalls: list[float]) -> None:
    """The engine that comes next has the whole time again."""
    with timer.work():
        clock.advance(250)
    assert stalls == [100.0, 200.0]


def test_belongs_to_no_request(clock: HandClock, timer: StallTimer) -> None:
    """The call is made in a context of its own, without the request's id."""
    with timer.work():
        (scheduled,) = clock.timers
        assert scheduled.context is not None
        assert list(scheduled.context) == []


def test_zero_means_never(clock: HandClock) -> None:
    """With a time of zero nothing is ever scheduled."""
    timer = StallTimer(0, pytest.fail)
    timer.start()
    with timer.work():
        assert clock.timers == []


def test_time_between_engines_is_no_silence(
    clock: HandClock, timer: StallTimer, stalls: list[float]
) -> None:
    """Work that goes on from one engine to the next counts for each of them, not in between."""
    with timer.work():
        clock.advance(90)
        timer.stop()
        assert clock.timers == []
        clock.advance(1000)
        timer.start()
        clock.advance(99)
        assert stalls == []
        clock.advance(1)
    assert stalls == [90.0 + 1000.0 + 100.0]


def test_work_that_begins_between_engines_counts_from_the_next(
    clock: HandClock, timer: StallTimer, stalls: list[float]
) -> None:
    """A request that waits for an engine has the whole time once there is one."""
    timer.stop()
    with timer.work():
        clock.advance(1000)
        timer.start()
        clock.advance(99)
        assert stalls == []
        clock.advance(1)
    assert stalls == [1100.0]
