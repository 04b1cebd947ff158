"""Waits between the deaths of what is started again."""

from __future__ import annotations

from tokenwire.restart_backoff import RestartBackoff

DELAYS_S = (0.0, 1.0, 30.0)


def test_waits_follow_each_other_and_end() -> None:
    """Each death in a row has the next wait, and the one after the last wait has none."""
    backoff = RestartBackoff(DELAYS_S)
    assert [backoff.next_delay_s(1.0) for _ in range(4)] == [0.0, 1.0, 30.0, None]
    assert backoff.num_deaths == 4


def test_what_lived_a_minute_begins_anew() -> None:
    """The death of what lived for a minute is a first one."""
    backoff = RestartBackoff(DELAYS_S)
    for _ in range(3):
        backoff.next_delay_s(59.9)
    assert backoff.next_delay_s(60.0) == 0.0
    assert backoff.next_delay_s(0.0) == 1.0
