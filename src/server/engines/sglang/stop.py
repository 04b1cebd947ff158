"""Stop strings, found in text that arrives piece by piece."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

REPLACEMENT_CHARACTER: Final = "\ufffd"


@dataclass(frozen=True, slots=True)
class SafeText:
    """Text that may be sent. `matched` is the stop string that ended the whole text."""

    text: str
    matched: str | None = None


class StopMatcher:
    """Finds the first stop string, and holds back text that may be the beginning of one.

    First is the one that is complete first; of two that end at one place, the longer. So the
    answer does not depend on how the text was cut into pieces, and never waits without need.
    """

    def __init__(self, stop: tuple[str, ...]) -> None:
        self._stop = tuple(text for text in stop if text)
        self._max_held = max((len(text) for text in self._stop), default=1) - 1
        self._held = ""

    def feed(self, text: str, *, is_last: bool = False) -> SafeText:
        """Takes the next piece and gives what is safe; after a match nothing may be fed.

        With `is_last` nothing is held back: nothing can complete a stop string any more.
        """
        text = self._held + text
        self._held = ""
        ends = [(text.find(stop) + len(stop), -len(stop), stop) for stop in self._stop]
        found = [end for end in ends if end[0] >= -end[1]]
        if found:
            end, negative_length, stop = min(found)
            return SafeText(text[: end + negative_length], stop)
        if not is_last:
            for start in range(max(0, len(text) - self._max_held), len(text)):
                if any(stop.startswith(text[start:]) for stop in self._stop):
                    self._held = text[start:]
                    return SafeText(text[:start])
        return SafeText(text)


def drop_cut_character(text: str) -> str:
    """Removes what a decoder puts in place of a last character whose bytes are incomplete."""
    return text.rstrip(REPLACEMENT_CHARACTER)
