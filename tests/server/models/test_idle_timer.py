from __future__ import annotations

import pytest
from tokenwire.server.models.usage import IdleTimer

from .hand_clock import HandClock

IDLE_S = 100.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    made = HandClock()
    monkeypatch.setattr("tokenwire.server.models.usage.get_running_loop", lambda: made)
    return made


@pytest.fixture
def ends() -> list[float]:
    return []


@pytest.fixture
def timer(clock: HandClock, ends: list[float]) -> IdleTimer:
    return IdleTimer(IDLE_S, lambda: ends.append(clock.time()))


def test_calls_once_after_the_idle_time(
    clock: HandClock, timer: IdleTimer, ends: list[float]
) -> None:
    """Without a user it calls when the time is over, and then no more."""
    timer.start()
    clock.advance(99)
    assert ends == []
    clock.advance(1000)
    assert ends == [100.0]


def test_users_hold_it_back(clock: HandClock, timer: IdleTimer, ends: list[float]) -> None:
    """It does not call while there is a user, and counts from the end of the last one."""
    timer.start()
    with timer.hold():
        with timer.hold():
            clock.advance(300)
        clock.advance(300)
    clock.advance(99)
    assert ends == []
    clock.advance(1)
    assert ends == [700.0]


def test_user_from_before_the_start_counts(
    clock: HandClock, timer: IdleTimer, ends: list[float]
) -> None:
    """Who uses the model while the timer is started holds it back as well."""
    with timer.hold():
        timer.start()
        clock.advance(300)
        assert ends == []
    clock.advance(100)
    assert ends == [400.0]


def test_stopped_timer_is_silent(clock: HandClock, timer: IdleTimer, ends: list[float]) -> None:
    """A stopped timer calls nobody, also when a user leaves afterwards."""
    timer.start()
    timer.stop()
    with timer.hold():
        pass
    assert clock.timers == []
    clock.advance(1000)
    assert ends == []


def test_belongs_to_no_user(clock: HandClock, timer: IdleTimer) -> None:
    """The call is made in a context of its own, without the last user's request id."""
    timer.start()
    with timer.hold():
        pass
    (scheduled,) = clock.timers
    assert scheduled.context is not None
    assert list(scheduled.context) == []


def test_zero_means_never(clock: HandClock) -> None:
    """With an idle time of zero nothing is ever scheduled."""
    timer = IdleTimer(0, pytest.fail)
    timer.start()
    with timer.hold():
        pass
    assert clock.timers == []
