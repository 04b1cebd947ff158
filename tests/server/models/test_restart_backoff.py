from __future__ import annotations

from tokenwire.server.models.restart_backoff import RestartBackoff


def test_waits_grow_and_end() -> None:
    """The first restart comes at once, the next later and later, and none after nine deaths."""
    backoff = RestartBackoff()
    delays = [backoff.next_delay_s(1.0) for _ in range(9)]
    assert delays == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, None]
    assert backoff.num_deaths == 9


def test_engine_that_lived_begins_anew() -> None:
    """The death of an engine that served for a minute is a first one."""
    backoff = RestartBackoff()
    for _ in range(8):
        backoff.next_delay_s(59.9)
    assert backoff.next_delay_s(60.0) == 0.0
    assert backoff.next_delay_s(0.0) == 1.0
