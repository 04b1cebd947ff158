from __future__ import annotations

import asyncio
import contextvars

import pytest
from tokenwire.server.idle_timer import IdleTimer

IDLE_S = 0.02


class Alarm:
    """Remembers that it was called."""

    def __init__(self) -> None:
        self.rang = asyncio.Event()

    async def wait(self) -> None:
        async with asyncio.timeout(30):
            await self.rang.wait()


async def test_calls_after_the_idle_time() -> None:
    """Without a user it calls once the time is over."""
    alarm = Alarm()
    timer = IdleTimer(IDLE_S, alarm.rang.set)
    timer.start()
    await alarm.wait()


async def test_user_holds_it_back_and_the_last_one_starts_it_anew() -> None:
    """It does not call while there is a user, and counts from the end of the last one."""
    alarm = Alarm()
    timer = IdleTimer(IDLE_S, alarm.rang.set)
    timer.start()
    later = IdleTimer(3 * IDLE_S, (reference := Alarm()).rang.set)
    with timer.hold():
        with timer.hold():
            later.start()
        await reference.wait()
        assert not alarm.rang.is_set()
    await alarm.wait()


async def test_user_from_before_the_start_counts() -> None:
    """Who uses the model while the timer is started holds it back as well."""
    alarm, reference = Alarm(), Alarm()
    timer = IdleTimer(IDLE_S, alarm.rang.set)
    with timer.hold():
        timer.start()
        IdleTimer(3 * IDLE_S, reference.rang.set).start()
        await reference.wait()
        assert not alarm.rang.is_set()
    await alarm.wait()


async def test_stopped_timer_is_silent() -> None:
    """A stopped timer calls nobody, also when a user leaves afterwards."""
    alarm, reference = Alarm(), Alarm()
    timer = IdleTimer(IDLE_S, alarm.rang.set)
    timer.start()
    timer.stop()
    with timer.hold():
        pass
    IdleTimer(3 * IDLE_S, reference.rang.set).start()
    await reference.wait()
    assert not alarm.rang.is_set()


async def test_zero_means_never(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an idle time of zero nothing is ever scheduled."""
    timer = IdleTimer(0, lambda: None)
    with monkeypatch.context() as patch:
        patch.setattr(asyncio.get_running_loop(), "call_later", None)
        timer.start()
        with timer.hold():
            pass


async def test_end_belongs_to_no_user() -> None:
    """What the last user bound to its context, such as its request id, is not there at the end."""
    alarm = Alarm()
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")
    seen: list[str] = []

    def on_idle() -> None:
        seen.append(name.get())
        alarm.rang.set()

    async def use() -> None:
        name.set("user")
        with timer.hold():
            pass

    timer = IdleTimer(IDLE_S, on_idle)
    timer.start()
    await asyncio.create_task(use())
    await alarm.wait()
    assert seen == ["nobody"]
