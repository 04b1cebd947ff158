"""Thinking that the caller does not want to see."""

from __future__ import annotations

from tokenwire.server.contract.events import ReasoningDelta, TextDelta, ToolCallDelta
from tokenwire.server.request.hidden_thinking import hide_thinking


def test_thinking_says_nothing_and_counts() -> None:
    """Of thinking only the number of its tokens is left; everything else stays."""
    thought = ReasoningDelta("secret", 3, (1, 2, 3), choice=2)
    assert hide_thinking(thought) == TextDelta("", 3, choice=2)
    for delta in (TextDelta("a", 1, (7,)), ToolCallDelta(0, "id", "f", "")):
        assert hide_thinking(delta) is delta
