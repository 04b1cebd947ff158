"""The texts that a tokenizer reads as control tokens, and where they stand in other text."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

# Control tokens that tokenizers keep as ordinary added tokens: those of thinking and of tools.
# Other added tokens (Gemma's `<table>` or its runs of newlines) are words like others.
_MARKUP: Final = re.compile(
    r"<\|.+\|>|<｜.+｜>"
    r"|\[/?[A-Z_]+\]|</?(?:think|seed:think|tool|function|arg|answer)[a-z_:]*>"
)


def is_control_text(text: str, *, is_special: bool, template: str) -> bool:
    """Whether a token of a vocabulary controls the model, and a user must not be able to write it.

    `is_special` is what the tokenizer itself says of it; `template` is the chat template, which
    makes control tokens of what it names.
    """
    if len(text) < 2:
        return False  # nothing would be left to write in its place
    if is_special or _MARKUP.fullmatch(text):
        return True
    return text in template and text[0] + text[-1] in ("<>", "[]")


class SpecialTexts:
    """The control tokens of one tokenizer.

    Texts are found in any case, because a template may change it.
    """

    def __init__(self, ids: Mapping[str, int], unknown: Collection[int] = ()) -> None:
        """Takes the id of each text, and those that stand for what the tokenizer does not know."""
        self.ids = dict(ids)
        self.unknown = frozenset(unknown)
        self._control_ids = frozenset(ids.values()) - self.unknown
        pattern = _pattern_of(sorted(ids)) if ids else r"(?!)"
        self._exact = re.compile(pattern)
        lowered = sorted({text.lower() for text in ids})
        self._any_case = re.compile(_pattern_of(lowered) if ids else r"(?!)", re.IGNORECASE)
        self._firsts = tuple({case for text in ids for case in (text[0].lower(), text[0].upper())})
        self._lasts = tuple({case for text in ids for case in (text[-1].lower(), text[-1].upper())})
        self._longest = max(map(len, ids), default=0)
        # Of two letters at least: a string that ends with "<" is nothing yet.
        self._beginnings = {text[:end] for text in lowered for end in range(2, len(text))}
        self._ends = {text[start:] for text in lowered for start in range(1, len(text) - 1)}

    def occur_in(self, strings: Iterable[str]) -> bool:
        """Whether a string holds one of the texts, or ends or begins in the middle of one."""
        return any(next(self.find_in(text), None) is not None for text in strings)

    def find_in(self, text: str) -> Iterator[int]:
        """Yields the place of one character, not the last, of each text that stands in `text`.

        So it does for what may become one beside what the template puts there.
        """
        if any(first in text for first in self._firsts):
            at = 0
            while (match := self._any_case.search(text, at)) is not None:
                place = match.start() + _visible(match[0])
                yield place
                at = place + 1
            yield from self._find_beginning(text)
        if any(last in text[: self._longest] for last in self._lasts):
            yield from self._find_end(text)

    def count(self, text: str) -> int:
        """Counts the control tokens that the tokenizer finds in a text."""
        return sum(1 for _ in self._exact.finditer(text))

    def count_ids(self, ids: Sequence[int]) -> int:
        """Counts the control tokens among ids, but for what stands for anything unknown."""
        return sum(1 for token_id in ids if token_id in self._control_ids)

    def double(self, text: str) -> str:
        """Writes each of the texts twice."""
        return self._any_case.sub(lambda match: match[0] * 2, text)

    def align(self, plain: str, twice: str, hide: Callable[[str], str]) -> str | None:
        """Hides in `plain` those of the texts that stand twice as often in `twice`.

        None: the two do not differ in that alone.
        """
        runs, doubled = self._runs(plain), self._runs(twice)
        if [run[:2] for run in runs] != [run[:2] for run in doubled]:
            return None
        parts: list[str] = []
        for (before, text, number), (_, _, other) in zip(runs, doubled, strict=True):
            if other not in (number, 2 * number):
                return None
            parts += [before, (text if other == number else hide(text)) * number]
        return "".join(parts)

    def _runs(self, text: str) -> list[tuple[str, str, int]]:
        """Cuts a text at its special texts: what stands before one, that text, and how often."""
        runs: list[tuple[str, str, int]] = []
        at = 0
        for match in self._any_case.finditer(text):
            before, special = text[at : match.start()], match[0]
            if runs and not before and runs[-1][1] == special:
                runs[-1] = (*runs[-1][:2], runs[-1][2] + 1)
            else:
                runs.append((before, special, 1))
            at = match.end()
        return [*runs, (text[at:], "", 1)]

    def _find_beginning(self, text: str) -> Iterator[int]:
        tail = text[-self._longest :].lower()
        for length in range(2, len(tail) + 1):
            if tail[-length:] in self._beginnings:
                yield len(text) - length + _visible(text[-length:])

    def _find_end(self, text: str) -> Iterator[int]:
        head = text[: self._longest].lower()
        for length in range(2, len(head) + 1):
            if head[:length] in self._ends:
                yield _visible(text[:length])


def _visible(text: str) -> int:
    """Chooses a character of a text that no change of case and no JSON writes otherwise."""
    for place, character in enumerate(text[:-1]):
        if character.isprintable() and not character.isalnum() and character not in ' "\\':
            return place
    return 0


def _pattern_of(texts: Sequence[str]) -> str:
    """Writes a pattern that finds the longest of the texts, which are sorted.

    Texts of one beginning share it: a plain list of thousands would be tried one by one, at every
    place.
    """
    return _write_pattern(texts, 0)


def _write_pattern(texts: Sequence[str], start: int) -> str:
    if len(texts) == 1:
        return re.escape(texts[0][start:])
    ends_here = len(texts[0]) == start
    branches = [
        re.escape(letter) + _write_pattern(list(group), start + 1)
        for letter, group in groupby(texts[ends_here:], key=lambda text: text[start])
    ]
    pattern = branches[0] if len(branches) == 1 else f"(?:{'|'.join(branches)})"
    return f"(?:{pattern})?" if ends_here else pattern
