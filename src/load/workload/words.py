"""Prompts of a chosen length, from words that are one token each in most vocabularies."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

# Short, frequent and in lower case: with the space before it, a token of its own in the byte-pair
# vocabularies of GPT-2, Llama 3, Qwen, Mistral, SmolLM and their kin.
_TEXT: Final = (
    "time year people way day man thing woman life child world school state family student group "
    "country problem hand part place case week company system program question work government "
    "number night point home water room mother area money story fact month lot right study book "
    "eye job word business issue side kind head house service friend father power hour game line "
    "end member law car city community name president team minute idea body information back "
    "parent face others level office door health person art war history party result change "
    "morning reason research girl guy moment air teacher force education good new first last long "
    "great little own other old big high small large next early young important few public bad "
    "same able open whole free strong true full special easy clear recent certain personal red "
    "difficult available single medical current wrong private past foreign fine common poor "
    "natural significant similar hot dead central happy serious ready simple left physical "
    "general environmental financial blue democratic dark various entire close legal final main"
)
_WORDS: Final = tuple(_TEXT.split())

_SHORT_PROBE, _LONG_PROBE = 16, 144


@dataclass(frozen=True, slots=True)
class WordFit:
    """How words become prompt tokens: `overhead` for the chat template, `per_word` for each."""

    overhead: float = 0.0
    per_word: float = 1.0
    is_measured: bool = False

    def num_words(self, num_tokens: int) -> int:
        """Returns how many words come nearest to so many tokens; at least one."""
        return max(1, round((num_tokens - self.overhead) / self.per_word))

    def num_tokens(self, num_words: int) -> int:
        """Returns how many tokens so many words are."""
        return round(self.overhead + self.per_word * num_words)


def draw_words(generator: random.Random, num_words: int) -> str:
    """Returns words in a random order, so that no two prompts begin alike for long."""
    return " ".join(generator.choices(_WORDS, k=num_words))


async def fit_words(count: Callable[[str], Awaitable[int | None]], seed: int) -> WordFit:
    """Asks `count` for the prompt tokens of a short and of a long prompt.

    Where it does not know, a word is taken for a token.
    """
    generator = random.Random(seed)  # noqa: S311 - drawn to be repeated, not to be secret
    short = await count(draw_words(generator, _SHORT_PROBE))
    long = await count(draw_words(generator, _LONG_PROBE))
    if short is None or long is None or long <= short:
        return WordFit()
    per_word = (long - short) / (_LONG_PROBE - _SHORT_PROBE)
    return WordFit(short - per_word * _SHORT_PROBE, per_word, True)
