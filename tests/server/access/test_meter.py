"""What a key may use, on a clock of the test's own."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from tokenwire.server.access.api_key import Limits
from tokenwire.server.access.meter import Meter
from tokenwire.server.contract.errors import QuotaExceeded


@dataclass
class HandClock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def meter(clock: HandClock) -> Meter:
    return Meter(clock)


def refusal(meter: Meter, limits: Limits, num_choices: int = 1) -> QuotaExceeded:
    with pytest.raises(QuotaExceeded) as raised:
        meter.enter(limits, num_choices)
    return raised.value


def test_without_limits_nothing_is_refused(meter: Meter) -> None:
    """Calls, requests and tokens without end."""
    for _ in range(1000):
        meter.count_call(Limits())
        meter.enter(Limits(), 1)
        meter.spend(Limits(), 10**9)


def test_in_flight_counts_until_the_end(meter: Meter) -> None:
    """A place is taken at the start of a request and free again at its end; n choices take n."""
    limits = Limits(max_in_flight=4)
    meter.enter(limits, 3)
    assert refusal(meter, limits, 2).metadata == {"limit": "4", "actual": "3"}
    meter.enter(limits, 1)
    error = refusal(meter, limits)
    assert error.message == "this key may have 4 requests in flight, and has 4"
    assert error.retry_after_s is None, "nobody knows when one ends: the reason's own time"
    meter.leave(3)
    meter.enter(limits, 3)


def test_calls_come_back_in_time(meter: Meter, clock: HandClock) -> None:
    """A minute's calls may be made at once; then one comes back each so many seconds."""
    limits = Limits(requests_per_minute=6)
    for _ in range(6):
        meter.count_call(limits)
    with pytest.raises(QuotaExceeded) as raised:
        meter.count_call(limits)
    assert (raised.value.retry_after_s, raised.value.metadata) == (10, {"limit": "6"})
    clock.now_s += 9
    with pytest.raises(QuotaExceeded) as raised:
        meter.count_call(limits)
    assert raised.value.retry_after_s == 1
    clock.now_s += 1
    meter.count_call(limits)
    clock.now_s += 3600  # an hour's rest is worth a minute's calls
    for _ in range(6):
        meter.count_call(limits)
    with pytest.raises(QuotaExceeded):
        meter.count_call(limits)


def test_an_over_spender_waits_for_all_that_he_spent(meter: Meter, clock: HandClock) -> None:
    """A request may cost more than is left; the next one waits until it is paid for."""
    limits = Limits(tokens_per_minute=60)
    meter.enter(limits, 1)
    meter.leave(1)
    meter.spend(limits, 180)
    error = refusal(meter, limits)
    assert (error.retry_after_s, error.metadata) == (121, {"limit": "60"})
    clock.now_s += 120
    assert refusal(meter, limits).retry_after_s == 1
    clock.now_s += 1
    meter.enter(limits, 1)


def test_a_rest_pays_before_it_is_spent(meter: Meter, clock: HandClock) -> None:
    """What came back during a long request counts against its own cost, up to a minute's worth."""
    limits = Limits(tokens_per_minute=60)
    meter.spend(limits, 60)
    clock.now_s += 600
    meter.spend(limits, 60)
    assert refusal(meter, limits).retry_after_s == 1


def test_new_limits_hold_at_once(meter: Meter) -> None:
    """A lower limit of a file that was read again counts what is in flight already."""
    meter.enter(Limits(max_in_flight=3), 1)
    meter.enter(Limits(max_in_flight=3), 1)
    assert refusal(meter, Limits(max_in_flight=2)).metadata["actual"] == "2"
    for _ in range(10):
        meter.count_call(Limits(requests_per_minute=100))
    meter.count_call(Limits(requests_per_minute=1))
    with pytest.raises(QuotaExceeded):
        meter.count_call(Limits(requests_per_minute=1))
