"""What lies between a generation and a slow reader."""

from __future__ import annotations

import pytest
from tokenwire.server.contract.errors import EngineLost
from tokenwire.server.contract.events import FinishReason, TextDelta
from tokenwire.server.request.calls import CallFinished, CallStarted, Queued
from tokenwire.server.request.relay import Relay

STARTED = CallStarted("r", "m", "", 1, 0, 5, None)
FINISHED = CallFinished(FinishReason.EOS, None, 1, 0, 2, 0.0, 0.1, 0.1, 0.2)


async def test_events_pass_one_by_one_to_a_fast_reader() -> None:
    """A reader that keeps up gets every event by itself."""
    relay = Relay()
    relay.put(STARTED)
    first = await relay.take()
    relay.put(TextDelta("a", 1))
    second = await relay.take()
    assert first is not None
    assert first.started == STARTED
    assert second is not None
    assert second.delta == TextDelta("a", 1)


async def test_pending_deltas_are_joined() -> None:
    """Deltas that were not read in time become one, with nothing lost."""
    relay = Relay()
    for number in range(1000):
        relay.put(TextDelta(f"{number},", 1, (number,)))
    relay.put(FINISHED)
    relay.close()
    batch = await relay.take()
    assert batch is not None
    assert batch.delta is not None
    assert batch.delta.text == "".join(f"{number}," for number in range(1000))
    assert batch.delta.token_ids == tuple(range(1000))
    assert batch.num_deltas == 1000
    assert batch.finished == FINISHED
    assert await relay.take() is None


async def test_only_the_latest_progress_is_kept() -> None:
    """Progress that was not read is replaced by newer progress, and dropped at the start."""
    relay = Relay()
    relay.put(Queued(3, None))
    relay.put(Queued(2, None))
    batch = await relay.take()
    assert batch is not None
    assert batch.progress == Queued(2, None)
    relay.put(Queued(1, None))
    relay.put(STARTED)
    batch = await relay.take()
    assert batch is not None
    assert batch.progress is None


async def test_error_comes_after_what_was_before_it() -> None:
    """What was generated before a failure is still read; then the failure is raised."""
    relay = Relay()
    relay.put(TextDelta("a", 1))
    relay.close(EngineLost())
    batch = await relay.take()
    assert batch is not None
    assert batch.delta == TextDelta("a", 1)
    with pytest.raises(EngineLost):
        await relay.take()


async def test_first_close_counts() -> None:
    """A failure after the end changes nothing."""
    relay = Relay()
    relay.close()
    relay.close(EngineLost())
    assert await relay.take() is None
