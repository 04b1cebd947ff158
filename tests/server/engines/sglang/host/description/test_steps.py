from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from tokenwire.server.engines.sglang.host.description.steps import StepCounter


@dataclass(frozen=True)
class Load:
    """What a scheduler publishes, as far as steps are read from it."""

    timestamp: float = 0.0
    num_running_reqs: int = 1
    num_waiting_reqs: int = 0
    decode_moments: tuple[float, ...] = ()
    total_prefill_uncached_tokens: int = 0
    total_prefill_busy_us: int = 0


@dataclass(frozen=True)
class OldLoad:
    """The same of a release that publishes less."""

    timestamp: float
    num_running_reqs: int = 1
    num_waiting_reqs: int = 0


LOAD = Load()


@pytest.fixture
def counter() -> StepCounter:
    counter = StepCounter(step_tokens=512)
    counter.count([LOAD], 0)
    return counter


def steps(counter: StepCounter, *loads: Load | OldLoad, received: int = 0) -> int:
    return counter.count(loads, received).num_steps


def test_parts_of_a_prompt_are_steps(counter: StepCounter) -> None:
    """Nothing arrives while a prompt is read, and the scheduler publishes each part."""
    first = steps(counter, replace(LOAD, timestamp=1))
    assert steps(counter, replace(LOAD, timestamp=2)) == first + 1


def test_frozen_scheduler_makes_none(counter: StepCounter) -> None:
    """What was published last stays."""
    load = replace(LOAD, timestamp=1)
    first = steps(counter, load)
    assert steps(counter, load) == first


def test_each_copy_of_the_model_counts(counter: StepCounter) -> None:
    load = replace(LOAD, timestamp=1)
    first = steps(counter, load, load)
    assert steps(counter, load, replace(load, timestamp=2)) == first + 1


def test_idle_scheduler_makes_none(counter: StepCounter) -> None:
    """One without work goes on to publish."""
    idle = replace(LOAD, num_running_reqs=0)
    first = steps(counter, replace(idle, timestamp=1))
    assert steps(counter, replace(idle, timestamp=2)) == first


def test_waiting_requests_are_work(counter: StepCounter) -> None:
    waiting = replace(LOAD, num_running_reqs=0, num_waiting_reqs=1)
    first = steps(counter, replace(waiting, timestamp=1))
    assert steps(counter, replace(waiting, timestamp=2)) == first + 1


def test_tokens_that_do_not_arrive_are_none(counter: StepCounter) -> None:
    """A frozen detokenizer is behind a scheduler that goes on generating."""
    first = steps(counter, replace(LOAD, timestamp=1))
    for turn in range(2, 5):
        load = replace(LOAD, timestamp=turn, decode_moments=(float(turn),))
        assert steps(counter, load) == first


def test_tokens_that_arrive_are_steps(counter: StepCounter) -> None:
    first = steps(counter, replace(LOAD, timestamp=1))
    load = replace(LOAD, timestamp=2, decode_moments=(1.0,))
    assert steps(counter, load, received=1) == first + 1


def test_speed_makes_the_longest_step(counter: StepCounter) -> None:
    load = replace(LOAD, total_prefill_uncached_tokens=1000, total_prefill_busy_us=250_000)
    assert counter.count([load], 0).longest_step_s == pytest.approx(512 * 0.25 / 1000)
    assert StepCounter(512).count([LOAD], 0).longest_step_s == 0.0


def test_older_release_counts_without_speed(counter: StepCounter) -> None:
    first = steps(counter, OldLoad(1.0))
    assert steps(counter, OldLoad(2.0)) == first + 1
    assert counter.count([OldLoad(3.0)], 0).longest_step_s == 0.0
