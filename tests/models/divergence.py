"""Where an answer parts from its reference, and how far apart the two tokens are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .checkpoints import Reference

_HALF_CHARACTER = "\ufffd"


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first token that differs, and the gap of the two log-probabilities there, in nats."""

    position: int
    gap: float


def compare_ids(output_ids: Sequence[int], reference: Reference) -> Divergence | None:
    """Compares token by token."""
    pairs = zip(output_ids, reference.output_ids, strict=True)
    for position, (found, wanted) in enumerate(pairs):
        if found != wanted:
            known = {token_id: value for token_id, value, _ in reference.best[position]}
            return _divergence(reference, position, known.get(found))
    return None


def compare_text(text: str, reference: Reference) -> Divergence | None:
    """Compares by the text that each token leads to, where an engine tells no token ids."""
    for position, best in enumerate(reference.best):
        # The text ends with whole characters, also where the last token does not.
        fitting = [value for _, value, so_far in best if text.startswith(_whole(so_far))]
        if not text.startswith(_whole(best[0][2])):
            return _divergence(reference, position, max(fitting, default=None))
    is_longer = len(text) > len(reference.best[-1][0][2])
    return Divergence(len(reference.best), float("inf")) if is_longer else None


def describe(found: Sequence[Divergence | None], num_tokens: int) -> str:
    """Says how many answers of `num_tokens` tokens equal their references."""
    gaps = [divergence.gap for divergence in found if divergence is not None]
    equal = f"{len(found) - len(gaps)} of {len(found)} answers of {num_tokens} tokens equal"
    if not gaps:
        return equal
    return f"{equal}; the rest part at two tokens at most {max(gaps):.4f} nats apart"


def _whole(text: str) -> str:
    return text.rstrip(_HALF_CHARACTER)


def _divergence(reference: Reference, position: int, found: float | None) -> Divergence:
    best = reference.best[position]
    # A token that is not among the best is further away than the last of them.
    return Divergence(position, best[0][1] - (best[-1][1] - 1.0 if found is None else found))
