"""What a grammar is worth: whether it compiles, can be followed, and what texts fit it."""

from __future__ import annotations

import random
import re
import string
from itertools import product
from typing import Final

from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper

from .bad_constraint import BadConstraint
from .task import Fit

_NUM_STEPS: Final = 48
_END_ID: Final = 0
_FIRST_BYTE_ID: Final = 1
# About a half of what the engines allow: what passes here is far from their bounds.
_LIMITS: Final = LLParserLimits(
    max_items_in_row=1_500,
    initial_lexer_fuel=250_000,
    step_lexer_fuel=100_000,
    step_max_items=25_000,
    max_lexer_states=100_000,
    max_grammar_size=250_000,
    verbose_errors=False,
)
_WRAPPING: Final = re.compile(
    r"^at \d+\(\d+\): (failed to compile JSON schema: )?(invalid regex \".*?\" \(in regex\): )?",
    re.DOTALL,
)
_EXCERPT: Final = re.compile(r"\n +\d+ \| ")
_CARET: Final = re.compile(r"regex parse error:\n {4}.*\n {4}( *)\^+\nerror: (.*)")
_DEAD: Final = "no text fits it"
_TOO_COMPLEX: Final = "takes too much work to follow"


class _Tokens:
    """A vocabulary like that of a model: all bytes, pairs of ASCII, and words of three letters."""

    eos_token_id = _END_ID
    bos_token_id = None
    special_token_ids = (_END_ID,)

    def __init__(self) -> None:
        ascii_bytes = [bytes([code]) for code in range(32, 127)]
        letters = string.ascii_lowercase.encode()
        self.tokens = [
            b"<end>",
            *(bytes([code]) for code in range(256)),
            *(first + second for first, second in product(ascii_bytes, repeat=2)),
            *(bytes(word) for word in product(letters, repeat=3)),
        ]

    def __call__(self, text: bytes | str) -> list[int]:
        return _byte_ids(text.encode() if isinstance(text, str) else text)


class Trial:
    """Tries grammars. To make one takes 50 ms."""

    def __init__(self) -> None:
        self._tokenizer = LLTokenizer(TokenizerWrapper(_Tokens()))

    def run(self, grammar: str) -> None:
        """Compiles a grammar and follows it for some tokens.

        Raises:
            BadConstraint: it has a mistake, no text fits it, or it is too costly.
        """
        matcher = self._compile(grammar)
        if matcher.is_error():
            raise _explain(matcher.get_error())
        chance = random.Random(0)  # noqa: S311 - the same steps each time, and no secret
        for _ in range(_NUM_STEPS):
            mask = int.from_bytes(matcher.compute_bitmask(), "little")
            if matcher.is_stopped():
                break
            allowed = mask & ~(1 << _END_ID)
            if not allowed:
                break
            matcher.consume_token(_pick(allowed, chance))
        if matcher.is_error():
            is_dead = "NoExtension" in matcher.get_error()
            raise BadConstraint(_DEAD if is_dead else _TOO_COMPLEX)

    def is_too_costly(self, grammar: str) -> bool:
        """Whether a grammar cannot be followed within the bounds, though it compiles."""
        try:
            self.run(grammar)
        except BadConstraint as error:
            return error.reason == _TOO_COMPLEX
        return False

    def find_mistake(self, grammar: str) -> str:
        """Returns why a grammar does not compile, without a place; empty: it does."""
        matcher = self._compile(grammar)
        return _explain(matcher.get_error()).reason if matcher.is_error() else ""

    def fit(self, grammar: str, text: str) -> Fit:
        """Compares a text with a grammar that has been tried."""
        matcher = self._compile(grammar)
        ids = _byte_ids(text.encode())
        is_beginning = matcher.try_consume_tokens(ids) == len(ids) and not matcher.is_error()
        return Fit(is_beginning, is_beginning and matcher.is_accepting())

    def _compile(self, grammar: str) -> LLMatcher:
        return LLMatcher(self._tokenizer, grammar, log_level=0, limits=_LIMITS)


def _byte_ids(data: bytes) -> list[int]:
    return [_FIRST_BYTE_ID + code for code in data]


def _pick(mask: int, chance: random.Random) -> int:
    """Picks one of the bits that are set."""
    # From a random place on, so that it is not always the lowest.
    above = mask >> (place := chance.randrange(mask.bit_length()))
    if not above:
        above, place = mask, 0
    return place + (above & -above).bit_length() - 1


def _explain(error: str) -> BadConstraint:
    """Says what llguidance found, without its excerpt of the grammar that we wrote."""
    caret = _CARET.search(error)
    if caret is not None:
        return BadConstraint(caret[2], f"column {1 + len(caret[1])}")
    words = _WRAPPING.sub("", _EXCERPT.split(error)[0]).strip()
    return BadConstraint(words.splitlines()[0] if words else _TOO_COMPLEX)
