"""What engines before said of a generation, for the one that goes on with it."""

from __future__ import annotations

from dataclasses import dataclass, field

from .token_ids import TokenIds


@dataclass(frozen=True, slots=True)
class EarlierOutput:
    """The beginning of one choice.

    `token_ids` are its first tokens, up to the end of a delta; none: it is made from its beginning
    once more. Of a choice that `has_ended` nothing is asked any more.
    """

    token_ids: TokenIds = field(default_factory=TokenIds)
    has_ended: bool = False


NOTHING_SAID = EarlierOutput()
