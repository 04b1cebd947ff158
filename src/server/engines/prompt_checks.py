"""What only a renderer can tell of a prompt: no tokens, unknown ones, no markers for a gap."""

from __future__ import annotations

from ..contract.errors import InvalidRequest
from ..contract.token_ids import TokenIds
from .fim import FimTokens


def check_not_empty(field: str, ids: TokenIds) -> None:
    """Raises `InvalidRequest` for a prompt that gives no tokens."""
    if not ids:
        raise InvalidRequest(field, "has no tokens")


def check_vocabulary(field: str, ids: TokenIds, vocab_size: int) -> None:
    """Raises `InvalidRequest` where an id is not below the vocabulary's size, naming the first."""
    if ids and max(ids) >= vocab_size:
        position, token_id = next(
            (position, token_id) for position, token_id in enumerate(ids) if token_id >= vocab_size
        )
        raise InvalidRequest(
            field,
            f"token id {token_id} at position {position} is not in the vocabulary of "
            f"{vocab_size} tokens",
        )


def need_fim_tokens(tokens: FimTokens | None) -> FimTokens:
    """Returns a model's markers, or raises `InvalidRequest` for a suffix that it cannot use."""
    if tokens is None:
        raise InvalidRequest("suffix", "the model has no fill-in-the-middle tokens")
    return tokens
