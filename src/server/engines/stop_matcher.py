"""Stop strings, found in text that arrives piece by piece."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Passed:
    """Text that may be sent. `matched` is the stop string that ended the whole text."""

    text: str
    matched: str | None = None


class StopMatcher:
    """Finds the first stop string, and holds back text that may be the beginning of one.

        for text in texts:
            passed = matcher.push(text)  # send passed.text; passed.matched ends the answer
        rest = matcher.push("", is_last=True)  # what was held back, where nothing matched

    First is the one that is complete first; of two that end at one place, the longer. So the
    answer does not depend on how the text was cut into pieces, and never waits without need.

    Not left to the engines: llama.cpp drops text that it holds back when its token limit comes,
    and SGLang looks for stop strings in a window of tokens only.
    """

    def __init__(self, stop: tuple[str, ...]) -> None:
        self._stop = tuple(text for text in stop if text)
        self._max_held = max((len(text) for text in self._stop), default=1) - 1
        self._held = ""

    def push(self, text: str, *, is_last: bool = False) -> Passed:
        """Takes the next piece and gives what is safe; after a match nothing more may be pushed.

        With `is_last` nothing is held back: nothing can complete a stop string any more.
        """
        text = self._held + text
        self._held = ""
        ends = [(text.find(stop) + len(stop), -len(stop), stop) for stop in self._stop]
        found = [end for end in ends if end[0] >= -end[1]]
        if found:
            end, negative_length, stop = min(found)
            return Passed(text[: end + negative_length], stop)
        if not is_last:
            for start in range(max(0, len(text) - self._max_held), len(text)):
                if any(stop.startswith(text[start:]) for stop in self._stop):
                    self._held = text[start:]
                    return Passed(text[:start])
        return Passed(text)
