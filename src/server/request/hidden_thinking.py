"""Answers whose thinking the caller does not want to see."""

from __future__ import annotations

from ..contract.events import Delta, ReasoningDelta, TextDelta


def hide_thinking(delta: Delta) -> Delta:
    """Leaves out what thinking says, not that there was some: its tokens count as progress."""
    if isinstance(delta, ReasoningDelta):
        return TextDelta("", delta.num_tokens, choice=delta.choice)
    return delta
