"""Messages that are received at once."""

from __future__ import annotations

import asyncio

import pytest
from tokenwire.server.rpc import intake
from tokenwire.server.rpc.intake import MAX_CONCURRENT_INTAKES, Intake


async def test_one_more_waits_for_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call waits while others are being received, until one of them is here."""
    monkeypatch.setattr(intake, "MAX_INTAKE_S", 60.0)
    monkeypatch.setattr(intake, "MAX_WAIT_S", 60.0)
    entrance = Intake()
    received = [await entrance.admit() for _ in range(MAX_CONCURRENT_INTAKES)]
    waiting = asyncio.ensure_future(entrance.admit())
    await asyncio.sleep(0)
    assert not waiting.done()
    received[0](10)
    async with asyncio.timeout(45):
        last = await waiting
    received[0](10)  # a second time frees nothing
    for end in (*received[1:], last):
        end(10)
    assert entrance._turns._value == MAX_CONCURRENT_INTAKES


async def test_slow_senders_hold_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls whose message does not come give up their turns by themselves."""
    monkeypatch.setattr(intake, "MAX_INTAKE_S", 0.01)
    entrance = Intake()
    async with asyncio.timeout(45):
        for _ in range(3 * MAX_CONCURRENT_INTAKES):
            await entrance.admit()


async def test_a_wait_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many send nothing, a call is received after a while, and takes no turn."""
    monkeypatch.setattr(intake, "MAX_INTAKE_S", 60.0)
    monkeypatch.setattr(intake, "MAX_WAIT_S", 0.01)
    entrance = Intake()
    held = [await entrance.admit() for _ in range(MAX_CONCURRENT_INTAKES)]
    async with asyncio.timeout(45):
        late = await entrance.admit()
    late(10)
    assert entrance._turns.locked()
    for end in held:
        end(10)
    assert entrance._turns._value == MAX_CONCURRENT_INTAKES


async def test_memory_is_given_back_after_large_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several large messages are followed by one trim, small ones by none."""
    monkeypatch.setattr(intake, "_TRIM_DELAY_S", 0.01)
    entrance, trims = Intake(), asyncio.Queue[None]()
    monkeypatch.setattr(intake, "give_back_free_memory", lambda: trims.put_nowait(None))
    (await entrance.admit())(1000)
    assert entrance._trim is None
    for _ in range(3):
        (await entrance.admit())(2 << 20)
    async with asyncio.timeout(45):
        await trims.get()
    assert trims.empty()
