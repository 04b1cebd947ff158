"""Conversations for templates that demand alternating roles."""

from __future__ import annotations

from itertools import groupby

from ..contract.engine import ChatMessage


def merge_consecutive(messages: tuple[ChatMessage, ...]) -> tuple[ChatMessage, ...]:
    """Joins neighbours of one role with a blank line.

    Meant for a conversation that the model's template refused: a template that takes it as it is
    must see it as it is. Returns an equal conversation when there is nothing to join.
    """
    return tuple(
        ChatMessage(role, "\n\n".join(message.content for message in neighbours))
        for role, neighbours in groupby(messages, key=lambda message: message.role)
    )
