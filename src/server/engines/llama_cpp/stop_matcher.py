"""Stop strings, found in text that comes in pieces."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Passed:
    """Text that may be told, and the stop string that ended it, None while there is none."""

    text: str
    matched: str | None = None


class StopMatcher:
    """Passes text on, except what is, or may yet become, a stop string.

    Not left to the server: when its token limit comes while it holds text back, it drops that text.
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._held = ""

    def push(self, text: str) -> Passed:
        """Takes the next piece. After a match nothing more may be pushed."""
        text = self._held + text
        found = [(at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            # The one that was complete first, so that it does not matter how the text was cut.
            at, stop = min(found, key=lambda match: (match[0] + len(match[1]), match[0]))
            self._held = ""
            return Passed(text[:at], stop)
        num_held = max((_num_begun(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - num_held :]
        return Passed(text[: len(text) - num_held])

    def flush(self) -> str:
        """Returns the text held back, once no more can come."""
        held, self._held = self._held, ""
        return held


def _num_begun(text: str, stop: str) -> int:
    """Counts the characters at the end of `text` that begin `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
