"""Conversations for templates that demand alternation."""

from __future__ import annotations

from tokenwire.server.contract.prompts import ChatMessage, ImagePart, Role
from tokenwire.server.contract.tools import ToolCall
from tokenwire.server.engines.merge_roles import merge_consecutive


def test_merges_neighbours() -> None:
    """Neighbours of one role are joined by a blank line, in order."""
    merged = merge_consecutive(
        (
            ChatMessage(Role.USER, "a"),
            ChatMessage(Role.USER, "b"),
            ChatMessage(Role.USER, ""),
            ChatMessage(Role.ASSISTANT, "c"),
            ChatMessage(Role.USER, "d"),
        )
    )
    assert merged == (
        ChatMessage(Role.USER, "a\n\nb\n\n"),
        ChatMessage(Role.ASSISTANT, "c"),
        ChatMessage(Role.USER, "d"),
    )


def test_leaves_alternation() -> None:
    """An alternating conversation stays as it is."""
    messages = (ChatMessage(Role.SYSTEM, "s"), ChatMessage(Role.USER, "u"))
    assert merge_consecutive(messages) == messages


def test_leaves_calls_and_results() -> None:
    """Two results stay two, and calls stay with their message."""
    messages = (
        ChatMessage(Role.USER, "u"),
        ChatMessage(Role.ASSISTANT, "", (ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}"))),
        ChatMessage(Role.TOOL, "1", tool_call_id="a"),
        ChatMessage(Role.TOOL, "2", tool_call_id="b"),
    )
    assert merge_consecutive(messages) == messages


def test_keeps_images_in_their_places() -> None:
    """Images stay between the texts that they stood between."""
    merged = merge_consecutive(
        (
            ChatMessage(Role.USER, "a"),
            ChatMessage(Role.USER, "bc", parts=("b", ImagePart(0), "c")),
            ChatMessage(Role.ASSISTANT, "d"),
        )
    )
    assert merged == (
        ChatMessage(Role.USER, "a\n\nbc", parts=("a", "\n\n", "b", ImagePart(0), "c")),
        ChatMessage(Role.ASSISTANT, "d"),
    )
