from __future__ import annotations

import datetime
import email.utils

import pytest
from tokenwire.server.files.hub.answers import Place, failure_of_status
from tokenwire.server.files.hub.retry import TransientFailure, WrongContents

PLACE = Place("hub.example", "owner/tiny", "main", "HF_TOKEN", "a.gguf")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520])
def test_statuses_that_may_pass(status: int) -> None:
    """Overload and failures of the hub are worth another try."""
    assert isinstance(failure_of_status(PLACE, status, {}), TransientFailure)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 407, 410, 451])
def test_statuses_that_stay(status: int) -> None:
    """What the hub refuses it refuses again; who and the status are told, the host is not."""
    failure = failure_of_status(PLACE, status, {})
    assert not isinstance(failure, TransientFailure | WrongContents)
    assert failure.reason.startswith("the hub ")
    assert "hub.example" not in failure.reason + failure.advice
    assert str(status) in failure.reason
    assert failure.advice


def test_a_part_that_the_hub_does_not_have() -> None:
    """A range behind the end of the file means that what is here is not of this file."""
    assert isinstance(failure_of_status(PLACE, 416, {}), WrongContents)


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, None),
        ({"Retry-After": "17"}, 17),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-1"}, None),
        ({"RateLimit": '"api";r=0;t=55', "Retry-After": "3"}, 55),
        ({"RateLimit": '"api";r=12;t=55'}, None),
        ({"Retry-After": "Mon, 01 Jan 2024 00:00:00 GMT"}, 0),
    ],
)
def test_what_a_hub_asks_to_wait(headers: dict[str, str], wait_s: float | None) -> None:
    """Both headers are read; what makes no sense is passed over."""
    failure = failure_of_status(PLACE, 429, headers)
    assert isinstance(failure, TransientFailure)
    assert failure.retry_after_s == wait_s


def test_a_date_to_wait_for() -> None:
    """A moment is turned into seconds from now."""
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=60)
    failure = failure_of_status(PLACE, 503, {"Retry-After": email.utils.format_datetime(moment)})
    assert isinstance(failure, TransientFailure)
    assert failure.retry_after_s is not None
    assert 50 < failure.retry_after_s <= 60
