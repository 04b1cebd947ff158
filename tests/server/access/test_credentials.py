"""Where a call carries its key."""

from __future__ import annotations

import pytest
from tokenwire.server.access.credentials import key_text_of


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ([], None),
        ([("authorization", "Bearer tw_1")], "tw_1"),
        ([("Authorization", "bearer  tw_1 ")], "tw_1"),
        ([("x-api-key", "tw_2")], "tw_2"),
        ([("authorization", "Bearer tw_1"), ("x-api-key", "tw_2")], "tw_2"),
        ([("authorization", "Basic dXNlcg=="), ("x-api-key", "tw_2")], "tw_2"),
        ([("authorization", "Basic dXNlcg==")], None),
        ([("authorization", "tw_1")], None),
        ([("authorization", "Bearer")], ""),
        ([("x-api-key", "")], ""),
        ([("authorization-bin", b"Bearer tw_1"), ("user-agent", "x")], None),
        ([("authorization", "Bearer first"), ("authorization", "Bearer second")], "first"),
    ],
)
def test_key_of_a_call(metadata: list[tuple[str, str | bytes]], text: str | None) -> None:
    """`x-api-key` before a bearer's token; no other scheme; the first of several."""
    assert key_text_of(metadata) == text
