"""Stop strings in text that comes in pieces."""

from __future__ import annotations

import pytest
from tokenwire.server.engines.llama_cpp.stop_matcher import Passed, StopMatcher

TEXT = "the quick brown fox"


def run(stops: tuple[str, ...], pieces: list[str]) -> tuple[str, str | None]:
    """What is told in the end, and what matched."""
    matcher = StopMatcher(stops)
    told = ""
    for piece in pieces:
        passed = matcher.push(piece)
        told += passed.text
        if passed.matched is not None:
            return told, passed.matched
    return told + matcher.flush(), None


@pytest.mark.parametrize("at", range(1, len(TEXT)))
def test_match_across_every_split(at: int) -> None:
    """A stop string is found wherever the text is cut."""
    assert run(("brown",), [TEXT[:at], TEXT[at:]]) == ("the quick ", "brown")


def test_match_letter_by_letter() -> None:
    """A stop string is found when every letter comes alone."""
    assert run(("brown",), list(TEXT)) == ("the quick ", "brown")


def test_beginning_is_held_back() -> None:
    """What may become a stop string is not told yet."""
    matcher = StopMatcher(("brown",))
    assert matcher.push("quick bro") == Passed("quick ")
    assert matcher.push("nze") == Passed("bronze")


def test_flush_returns_rest() -> None:
    """What was held back is told once no more can come, and only once."""
    matcher = StopMatcher(("brown",))
    matcher.push("bro")
    assert matcher.flush() == "bro"
    assert matcher.flush() == ""


def test_no_stops_hold_nothing() -> None:
    """Without stop strings all text passes at once."""
    assert StopMatcher(()).push(TEXT) == Passed(TEXT)


def test_overlapping_beginning() -> None:
    """A failed beginning may hold another beginning."""
    assert run(("aab",), ["aa", "ab", "c"]) == ("a", "aab")


def test_first_in_text_wins() -> None:
    """The stop string that comes first in the text wins, not the first of the list."""
    assert run(("fox", "quick"), [TEXT]) == ("the ", "quick")


@pytest.mark.parametrize("stops", [("quick", "ui"), ("qu", "quick"), ("e quick", "q", "qu")])
def test_cut_does_not_matter(stops: tuple[str, ...]) -> None:
    """Of overlapping stop strings the first complete one ends the text, however it is cut."""
    whole = run(stops, [TEXT])
    assert run(stops, list(TEXT)) == whole
    assert all(run(stops, [TEXT[:at], TEXT[at:]]) == whole for at in range(len(TEXT)))


def test_stop_at_beginning() -> None:
    """A stop string at the very beginning leaves nothing."""
    assert run(("the",), [TEXT]) == ("", "the")
