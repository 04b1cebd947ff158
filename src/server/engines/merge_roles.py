"""Conversations for templates that demand alternating roles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from ..contract.prompts import ChatMessage, ImagePart, Role

_BETWEEN = "\n\n"


def merge_consecutive(messages: tuple[ChatMessage, ...]) -> tuple[ChatMessage, ...]:
    """Joins neighbours of one role with a blank line.

    Meant for a conversation that the model's template refused: a template that takes it as it is
    must see it as it is. Calls of tools and their results stay as they are. Returns an equal
    conversation when there is nothing to join.
    """
    groups = [list(group) for _, group in groupby(messages, key=_joinable)]
    return tuple(group[0] if len(group) == 1 else _merge(group) for group in groups)


def _joinable(message: ChatMessage) -> Role | int:
    """Gives neighbours that may be joined one key."""
    return id(message) if message.tool_calls or message.tool_call_id else message.role


def _merge(neighbours: Sequence[ChatMessage]) -> ChatMessage:
    content = _BETWEEN.join(message.content for message in neighbours)
    has_images = any(message.parts for message in neighbours)
    parts = tuple(_parts(neighbours)) if has_images else ()
    return ChatMessage(neighbours[0].role, content, parts=parts)


def _parts(neighbours: Iterable[ChatMessage]) -> Iterable[str | ImagePart]:
    for number, message in enumerate(neighbours):
        if number:
            yield _BETWEEN
        yield from message.parts or (message.content,)
