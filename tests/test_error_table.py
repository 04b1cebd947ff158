"""The table of failures."""

from __future__ import annotations

import pytest
from tokenwire.error_table import TRAITS
from tokenwire.generated.tokenwire.v1 import errors_pb2


def test_every_reason_of_the_proto_is_in_the_table() -> None:
    """The keys are the names that `ErrorInfo.reason` carries."""
    assert {f"ERROR_REASON_{reason}" for reason in TRAITS} == set(errors_pb2.ErrorReason.keys())


@pytest.mark.parametrize("reason", sorted(TRAITS))
def test_every_reason_says_how_it_is_answered(reason: str) -> None:
    """No value of the proto lacks its option: each has a status and a code for HTTP callers."""
    traits = TRAITS[reason]
    assert 400 <= traits.http_status < 600
    assert traits.rest_code
    assert traits.example_message
