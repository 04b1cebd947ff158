"""Conversations for templates that demand alternating roles."""

from __future__ import annotations

from itertools import groupby

from ..contract.engine import ChatMessage, Role


def merge_consecutive(messages: tuple[ChatMessage, ...]) -> tuple[ChatMessage, ...]:
    """Joins neighbours of one role with a blank line.

    Meant for a conversation that the model's template refused: a template that takes it as it is
    must see it as it is. Calls of tools and their results stay as they are. Returns an equal
    conversation when there is nothing to join.
    """
    groups = [list(group) for _, group in groupby(messages, key=_joinable)]
    return tuple(
        group[0]
        if len(group) == 1
        else ChatMessage(group[0].role, "\n\n".join(message.content for message in group))
        for group in groups
    )


def _joinable(message: ChatMessage) -> Role | int:
    """Gives neighbours that may be joined one key."""
    return id(message) if message.tool_calls or message.tool_call_id else message.role
