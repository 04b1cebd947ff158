"""What a choice said in another host, as if SGLang had sent it here in one item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .token_texts import TokenTexts

REPLACEMENT_CHARACTER: Final = "\ufffd"

# As many tokens of the prompt as SGLang itself decodes with the first ones of an answer.
_NUM_TOKENS_BEFORE: Final = 5
_MAX_TOKENS_OF_CHARACTER: Final = 4


@dataclass(frozen=True, slots=True)
class EarlierText:
    """The first tokens of a choice, cut where a character ends, and their text."""

    token_ids: list[int]
    text: str


def read_earlier(
    texts: TokenTexts, prompt_ids: list[int], token_ids: list[int], *, skips_special: bool
) -> EarlierText:
    """Decodes tokens behind a prompt as SGLang does.

    SGLang would lose a character that begins before its prompt's end: the tokens of one that is not
    whole are left out, and generated once more.
    """
    before = prompt_ids[-_NUM_TOKENS_BEFORE:]
    begin = texts.decode(before, skips_special=skips_special)
    for num_left_out in range(min(_MAX_TOKENS_OF_CHARACTER, len(token_ids) + 1)):
        kept = token_ids[: len(token_ids) - num_left_out]
        text = texts.decode(before + kept, skips_special=skips_special)
        if not text.endswith(REPLACEMENT_CHARACTER):
            return EarlierText(kept, text[len(begin) :])
    return EarlierText([], "")
