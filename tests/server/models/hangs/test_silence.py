from __future__ import annotations

import pytest
from tokenwire.server.contract.engine import StepCount
from tokenwire.server.machine.process_group import GroupActivity
from tokenwire.server.models.hangs.silence import Look, Silence

HANG_S = 30.0


class Watched:
    """An engine with work, looked at once a second."""

    def __init__(self) -> None:
        self.silence = Silence(HANG_S, max_gap_s=3)
        self.now_s = self.silent_s = self.cpu_s = 0.0
        self.num_steps = self.num_page_reads = self.num_stopped = 0
        self.longest_step_s = 0.0
        self.answers = self.tells_activity = True
        self.why: str | None = None
        self.look()

    def look(self, gap_s: float = 1.0) -> None:
        self.now_s += gap_s
        self.silent_s += gap_s
        activity = GroupActivity(self.cpu_s, self.num_page_reads, self.num_stopped)
        self.why = self.silence.take(
            Look(
                self.now_s,
                self.silent_s,
                StepCount(self.num_steps, self.longest_step_s) if self.answers else None,
                activity if self.tells_activity else None,
            )
        )

    def pass_time(self, seconds: int, *, cpu: float = 0.0, steps: int = 0) -> None:
        """Looks until it is hung or the time is over."""
        for _ in range(seconds):
            self.cpu_s += cpu
            self.num_steps += steps
            self.look()
            if self.why is not None:
                return

    def say(self) -> None:
        self.silent_s = 0.0


def test_engine_that_computes_nothing_is_hung() -> None:
    """No event, no step and no CPU time for the whole time is a hang, and not before."""
    watched = Watched()
    watched.pass_time(29)
    assert watched.why is None
    watched.pass_time(1)
    assert watched.why == "it made no step in 30 s with work, and computed nothing"


def test_engine_without_an_answer_is_hung() -> None:
    """One that is not even able to tell its steps is no better."""
    watched = Watched()
    watched.answers = False
    watched.pass_time(30)
    assert watched.why is not None


def test_steps_are_signs() -> None:
    """While steps are counted a prompt may be read for any time, without an event or CPU time."""
    watched = Watched()
    for _ in range(100):
        watched.pass_time(20)
        watched.num_steps += 1
    assert watched.why is None
    watched.pass_time(31)
    assert watched.why is not None


def test_events_are_signs() -> None:
    watched = Watched()
    watched.answers = False
    for _ in range(100):
        watched.pass_time(20)
        watched.say()
    assert watched.why is None


def test_event_early_between_two_looks_is_a_sign() -> None:
    """Though the silence at the second look may be longer than at the first."""
    watched = Watched()
    watched.answers = False
    for _ in range(100):
        watched.silent_s = 0.5
        watched.look(gap_s=0.1)
        watched.silent_s = -0.3
        watched.look(gap_s=0.9)
        assert watched.why is None


@pytest.mark.parametrize("busy", ["cpu", "disk", "unknown"])
def test_engine_that_works_has_ten_times_as_long(busy: str) -> None:
    """A step may last where the engine computes, reads the disk, or where nobody can tell."""
    watched = Watched()
    watched.tells_activity = busy != "unknown"

    def work(seconds: int) -> None:
        for _ in range(seconds):
            watched.cpu_s += 0.1 * (busy == "cpu")
            watched.num_page_reads += busy == "disk"
            watched.look()

    work(299)
    assert watched.why is None
    work(1)
    assert watched.why == "it made no step in 300 s with work, though it computes"


def test_slow_machine_has_a_step_of_its_own_speed() -> None:
    """A step that the engine's speed makes likely may take four times as long."""
    watched = Watched()
    watched.longest_step_s = 100.0
    watched.pass_time(399, cpu=1.0)
    assert watched.why is None
    watched.pass_time(1, cpu=1.0)
    assert watched.why is not None


def test_longest_silence_so_far_may_come_again() -> None:
    """Steps grow with the length of a prompt: four times the longest so far is no hang."""
    watched = Watched()
    watched.pass_time(200, cpu=1.0)
    watched.pass_time(1, cpu=1.0, steps=1)
    assert watched.silence.limit_s == 800.0
    watched.pass_time(799, cpu=1.0)
    assert watched.why is None
    watched.pass_time(1, cpu=1.0)
    assert watched.why is not None


def test_stopped_process_is_a_hang_whatever_others_do() -> None:
    """A stopped detokenizer hides behind a scheduler that computes and counts steps."""
    watched = Watched()
    watched.num_stopped = 1
    watched.pass_time(29, cpu=1.0, steps=1)
    assert watched.why is None
    watched.pass_time(1, cpu=1.0, steps=1)
    assert watched.why == "one of its processes was stopped for 30 s"


def test_stopped_process_that_goes_on_in_time_is_none() -> None:
    watched = Watched()
    for _ in range(10):
        watched.num_stopped = 1
        watched.pass_time(20)
        watched.num_stopped = 0
        watched.pass_time(1, steps=1)
    assert watched.why is None


def test_stopped_process_beside_events_is_none() -> None:
    """Who is stopped is of no use to the running requests, as a debugger's victim may be."""
    watched = Watched()
    watched.num_stopped = 1
    for _ in range(200):
        watched.say()
        watched.pass_time(1)
    assert watched.why is None


def test_pause_of_our_own_is_no_silence() -> None:
    """Events and answers of the time in which this process stood still are yet to be read."""
    watched = Watched()
    watched.answers = False
    watched.look(gap_s=3600)
    watched.pass_time(26)
    assert watched.why is None
    watched.pass_time(1)
    assert watched.why is not None


def test_time_without_work_is_no_silence() -> None:
    """Between two requests nothing is expected."""
    watched = Watched()
    watched.pass_time(20)
    watched.now_s += 3600  # without a look, and without work
    watched.pass_time(9)
    assert watched.why is None
    watched.pass_time(1)
    assert watched.why is not None
