from __future__ import annotations

import pytest
from structlog.testing import capture_logs
from tokenwire.server.files.hub.retry import HubFailure, HubLimits, RetryBudget, TransientFailure


class Patience:
    """A budget whose waits are written down, and take no time."""

    def __init__(self, limits: HubLimits | None = None) -> None:
        self.reported: list[str] = []
        self.waits: list[float] = []
        self.budget = RetryBudget(
            "owner/tiny", limits or HubLimits(), self.reported.append, self._sleep
        )

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


async def test_waits_double_up_to_a_bound() -> None:
    """Each wait is half to the whole of twice the one before, and no longer than the bound."""
    patience = Patience(HubLimits(max_tries=9, first_wait_s=1, longest_wait_s=10))
    with capture_logs() as lines:
        for _ in range(8):
            await patience.budget.wait_after(TransientFailure("no"))
    for wait_s, longest_s in zip(patience.waits, [1, 2, 4, 8, 10, 10, 10, 10], strict=True):
        assert longest_s / 2 <= wait_s <= longest_s
    assert [line["num_failed"] for line in lines] == list(range(1, 9))
    assert all(words.endswith(" s: no") for words in patience.reported)


async def test_waits_differ() -> None:
    """Servers that lost the same hub at once do not come back at once."""
    waits = set[float]()
    for _ in range(20):
        patience = Patience()
        await patience.budget.wait_after(TransientFailure("no"))
        waits.update(patience.waits)
    assert len(waits) == 20


async def test_the_last_failure_is_the_one_that_is_told() -> None:
    """After the last try no wait follows; the failure says how many there were."""
    patience = Patience(HubLimits(max_tries=3))
    reasons = iter(["first", "second", "third"])

    async def operation() -> None:
        raise TransientFailure(next(reasons), "do this")

    with pytest.raises(HubFailure, match=r"^third \(3 tries in a row\)$") as caught:
        await patience.budget.run(operation)
    assert not isinstance(caught.value, TransientFailure)
    assert caught.value.advice == "do this"
    assert len(patience.waits) == 2


async def test_progress_starts_the_count_again() -> None:
    """Failures with progress between them are not added up."""
    patience = Patience(HubLimits(max_tries=2))
    for _ in range(5):
        patience.budget.refill()
        await patience.budget.wait_after(TransientFailure("no"))
    assert all(wait_s <= 1 for wait_s in patience.waits)


@pytest.mark.parametrize("asked_s", [0.0, 12.0, 300.0])
async def test_a_wait_that_is_asked_for(asked_s: float) -> None:
    """What the hub asks for is waited, to the second."""
    patience = Patience()
    await patience.budget.wait_after(TransientFailure("no", retry_after_s=asked_s))
    assert patience.waits == [asked_s]


async def test_a_wait_that_is_too_long() -> None:
    """A longer wait than the bound ends it at once."""
    patience = Patience()
    with pytest.raises(HubFailure, match=r"asks to wait 301 s, longer than the 300 s"):
        await patience.budget.wait_after(TransientFailure("no", retry_after_s=301))
    assert patience.waits == []


async def test_what_is_final_is_not_tried_again() -> None:
    """Only failures that may pass are waited for."""
    patience = Patience()

    async def operation() -> None:
        raise HubFailure("gone")

    with pytest.raises(HubFailure, match=r"^gone$"):
        await patience.budget.run(operation)
    assert patience.waits == []
