"""How long an engine with work has not gone on, and when that is a hang."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ...contract.engine import StepCount
from ...machine.process_group import GroupActivity

# Of one core. To be asked costs a tenth of it, and computing takes far more, also where ten
# processes share a core.
_BUSY_SHARE: Final = 0.05
# An engine that works has this many times as long: a kernel may be compiled in a step. With the
# default it is the 300 s that SGLang's own watchdog gives a step.
_BUSY_FACTOR: Final = 10.0
# The next step may be this much longer than what was seen: the machine has other work, too.
_STEP_FACTOR: Final = 4.0


@dataclass(frozen=True, slots=True)
class Look:
    """What was found out about an engine that has work.

    `silent_s` is its time with work since its last event; `steps` is its last answer, None where
    it has not answered since the look before; `activity` is None where it cannot be told.
    """

    now_s: float
    silent_s: float
    steps: StepCount | None = None
    activity: GroupActivity | None = None


class Silence:
    """Adds up the time in which an engine that has work did not go on.

        silence = Silence(hang_s=30, max_gap_s=3)
        why = silence.take(Look(...))  # every second or so, while the engine has work

    An engine goes on where it says something or counts a step. One that does not is hung

    - after `hang_s` seconds in which one of its processes is stopped, or in which none computes
      and none waits for the disk;
    - otherwise, as it may be in one long step, after the longest of ten times `hang_s`, four times
      the step that its own speed makes likely, and four times its longest silence so far.

    Looks that are further apart than `max_gap_s` tell of a pause of this process, which is held
    against no engine.
    """

    def __init__(self, hang_s: float, max_gap_s: float) -> None:
        self._hang_s = hang_s
        self._max_gap_s = max_gap_s
        self._last: Look | None = None
        self._num_steps: int | None = None
        self._expected_s = 0.0
        self._longest_s = 0.0
        self._quiet_s = 0.0  # without an event and without a step
        self._idle_s = 0.0  # of that, without work that the system sees
        self._stopped_s = 0.0  # without an event, whatever steps are counted

    @property
    def limit_s(self) -> float:
        """The longest time for one step."""
        likely_s = _STEP_FACTOR * max(self._expected_s, self._longest_s)
        return max(_BUSY_FACTOR * self._hang_s, likely_s)

    def take(self, look: Look) -> str | None:
        """Takes what was found out; returns why the engine is hung, for the log, once it is."""
        last, self._last = self._last, look
        has_stepped = self._take_steps(look.steps)
        if last is None:
            return None
        gap_s = min(look.now_s - last.now_s, self._max_gap_s)
        # Less than the gap where there was no work for a while.
        silent_s = min(max(0.0, look.silent_s - last.silent_s), gap_s)
        # An event in between shows in what is silent now.
        quiet_s = 0.0 if has_stepped else min(self._quiet_s + silent_s, look.silent_s)
        if quiet_s < self._quiet_s:
            self._longest_s = max(self._longest_s, self._quiet_s)
        self._quiet_s = quiet_s
        has_worked = _has_worked(last, look)
        self._idle_s = 0.0 if has_worked else min(self._idle_s + silent_s, quiet_s)
        is_stopped = look.activity is not None and look.activity.num_stopped > 0
        self._stopped_s = min(self._stopped_s + silent_s, look.silent_s) if is_stopped else 0.0
        return self._judge()

    def _take_steps(self, steps: StepCount | None) -> bool:
        if steps is None:
            return False
        has_stepped = steps.num_steps != self._num_steps
        self._num_steps = steps.num_steps
        self._expected_s = steps.longest_step_s
        return has_stepped

    def _judge(self) -> str | None:
        if self._stopped_s >= self._hang_s:
            return f"one of its processes was stopped for {self._stopped_s:.0f} s"
        if self._idle_s >= self._hang_s:
            return f"it made no step in {self._quiet_s:.0f} s with work, and computed nothing"
        if self._quiet_s >= self.limit_s:
            return f"it made no step in {self._quiet_s:.0f} s with work, though it computes"
        return None


def _has_worked(last: Look, look: Look) -> bool:
    before, now = last.activity, look.activity
    if before is None or now is None:
        return True  # it may have
    return (
        now.cpu_s - before.cpu_s >= _BUSY_SHARE * (look.now_s - last.now_s)
        or now.num_page_reads > before.num_page_reads
    )
