from __future__ import annotations

import pytest
from structlog.testing import capture_logs
from tokenwire.server.contract.load_progress import Download, LoadProgress
from tokenwire.server.files.hub.answers import HubFile
from tokenwire.server.files.hub.progress import HubProgress, amount, duration
from tokenwire.server.files.hub.retry import HubLimits

MIB = 1024 * 1024
A = HubFile("a", 10 * MIB, "a")
B = HubFile("b", 30 * MIB, "b")


class Clock:
    """A clock that is set by hand."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def steps() -> list[LoadProgress]:
    return []


@pytest.fixture
def progress(steps: list[LoadProgress], clock: Clock) -> HubProgress:
    copy_of_a = HubFile("c", 10 * MIB, "a")
    return HubProgress("owner/repo", [A, B, copy_of_a], steps.append, HubLimits(), clock)


def test_what_was_here_counts_as_done_and_not_for_the_rate(
    progress: HubProgress, steps: list[LoadProgress], clock: Clock
) -> None:
    """A download that is taken up starts where it was, at the speed of what comes now."""
    progress.found(A, 10 * MIB)
    progress.found(B, 10 * MIB)
    clock.now_s += 2
    progress.arrived(B, 4 * MIB)
    words = "24.0 of 40.0 MiB, 2.0 MiB/s, 8 s left"
    assert steps == [
        LoadProgress("downloading", 24 / 40, words, Download(24 * MIB, 40 * MIB)),
    ]


def test_steps_are_told_now_and_then(
    progress: HubProgress, steps: list[LoadProgress], clock: Clock
) -> None:
    """A thousand pieces within a second are one step; the end is always told."""
    for _ in range(1000):
        progress.arrived(A, 1024)
    assert len(steps) == 1
    clock.now_s += 1
    progress.arrived(A, 1024)
    assert len(steps) == 2
    progress.finish()
    assert len(steps) == 3


def test_the_rate_is_that_of_the_last_seconds(
    progress: HubProgress, steps: list[LoadProgress], clock: Clock
) -> None:
    """A line that becomes slow is seen after ten seconds, not at the end."""
    for _ in range(10):
        clock.now_s += 1
        progress.arrived(B, 2 * MIB)
    assert "2.0 MiB/s" in steps[-1].text
    for _ in range(11):
        clock.now_s += 1
        progress.arrived(B, MIB // 4)
    assert "0.2 MiB/s" in steps[-1].text


def test_contents_that_are_thrown_away_count_no_more(progress: HubProgress) -> None:
    """What must be fetched again is not done."""
    progress.arrived(A, 5 * MIB)
    progress.found(A, 0)
    assert progress.done == 0
    assert progress.num_arrived == 5 * MIB


def test_a_wait_is_told_at_once(progress: HubProgress, steps: list[LoadProgress]) -> None:
    """Whoever looks at the step sees that there is a wait, and why."""
    progress.arrived(A, MIB)
    progress.waiting("next try in 4 s: hub failed (status 503)")
    assert steps[-1].text == (
        "downloading, 1.0 of 40.0 MiB, next try in 4 s: hub failed (status 503)"
    )


def test_the_log_says_one_word_per_step(
    progress: HubProgress, steps: list[LoadProgress], clock: Clock
) -> None:
    """The step stays while others are fetched and a file is read again."""
    progress.arrived(A, MIB)
    clock.now_s += 1
    progress.checking("b", 2 * MIB, 20 * MIB)
    assert {step.step for step in steps} == {"downloading"}
    assert steps[-1].text.endswith("checking b: 2.0 of 20.0 MiB")


def test_the_log_tells_progress_now_and_then(progress: HubProgress, clock: Clock) -> None:
    """A download of a minute is two lines with amounts and speed, not sixty."""
    with capture_logs() as lines:
        for _ in range(61):
            clock.now_s += 1
            progress.arrived(B, MIB // 4)
    assert [line["bytes_done"] for line in lines] == [30 * MIB // 4, 60 * MIB // 4]
    assert lines[0] == {
        "event": "download_progress",
        "log_level": "info",
        "repo": "owner/repo",
        "bytes_done": 30 * MIB // 4,
        "bytes_total": 40 * MIB,
        "bytes_per_s": MIB // 4,
    }


def test_sizes_that_are_not_known(steps: list[LoadProgress], clock: Clock) -> None:
    """Without a size there is no fraction, and no time that is left."""
    progress = HubProgress(
        "owner/repo", [HubFile("a", None, "a")], steps.append, HubLimits(), clock
    )
    clock.now_s += 1
    progress.arrived(A, MIB)
    assert steps == [LoadProgress("downloading", None, "1.0 MiB", Download(MIB, 0))]


@pytest.mark.parametrize(
    ("num_bytes", "words"),
    [(0, "0.0 KiB"), (2048, "2.0 KiB"), (150 * MIB, "150 MiB"), (3 * 1024 * MIB, "3.0 GiB")],
)
def test_amounts(num_bytes: int, words: str) -> None:
    """Amounts are told in the unit that fits."""
    assert amount(num_bytes) == words


@pytest.mark.parametrize(("seconds", "words"), [(8.4, "8 s"), (300, "5 min"), (7500, "2 h 5 min")])
def test_durations(seconds: float, words: str) -> None:
    """Times are told in the units that fit."""
    assert duration(seconds) == words
