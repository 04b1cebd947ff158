"""Stop strings in text that comes in pieces."""

from __future__ import annotations

import itertools

import pytest
from tokenwire.server.engines.stop_matcher import Passed, StopMatcher

TEXT = "the quick brown fox"


def run(stops: tuple[str, ...], pieces: list[str]) -> tuple[str, str | None]:
    """What is told in the end, and what matched."""
    matcher = StopMatcher(stops)
    told = ""
    for number, piece in enumerate(pieces, 1):
        passed = matcher.push(piece, is_last=number == len(pieces))
        told += passed.text
        if passed.matched is not None:
            return told, passed.matched
    return told, None


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


def test_nothing_is_held_back_at_the_end() -> None:
    """What was held back is told once no more can come."""
    matcher = StopMatcher(("brown",))
    matcher.push("bro")
    assert matcher.push("", is_last=True) == Passed("bro")


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


def cuts(text: str) -> list[list[str]]:
    """Every way to cut a text into pieces."""
    found: list[list[str]] = []
    for borders in itertools.product((False, True), repeat=len(text) - 1):
        pieces = [text[0]]
        for character, is_border in zip(text[1:], borders, strict=True):
            if is_border:
                pieces.append(character)
            else:
                pieces[-1] += character
        found.append(pieces)
    return found


def run_matcher(stop: tuple[str, ...], pieces: list[str]) -> tuple[list[str], str | None]:
    matcher, told = StopMatcher(stop), list[str]()
    for number, piece in enumerate(pieces, 1):
        passed = matcher.push(piece, is_last=number == len(pieces))
        told.append(passed.text)
        if passed.matched is not None:
            return told, passed.matched
    return told, None


@pytest.mark.parametrize(
    ("text", "stop", "kept", "matched"),
    [
        ("abcdef", ("cd",), "ab", "cd"),
        ("abcdef", ("ab",), "", "ab"),
        ("abcdef", ("ef",), "abcd", "ef"),
        ("abcdef", ("abcdef",), "", "abcdef"),
        ("abcdef", ("xy",), "abcdef", None),
        ("abcdef", ("efg", "fgh"), "abcdef", None),
        ("abcdef", ("abcdx", "cd"), "ab", "cd"),
        ("abcdef", ("abcd", "cd", "d"), "", "abcd"),
        ("abcdef", ("de", "bc"), "a", "bc"),
        ("aaabab", ("aab",), "a", "aab"),
        ("ababac", ("abac",), "ab", "abac"),
        ("a\n\nb", ("\n", "\n\n"), "a", "\n"),
        ("abc", ("", "c"), "ab", "c"),
        ("abc", (), "abc", None),
        ("字漢字🌍", ("漢字",), "字", "漢字"),
    ],
)
def test_stop_however_cut(text: str, stop: tuple[str, ...], kept: str, matched: str | None) -> None:
    """The text and the match are the same for every way to cut the text into pieces."""
    for pieces in cuts(text):
        told, found = run_matcher(stop, pieces)
        assert ("".join(told), found) == (kept, matched), pieces


def test_stop_never_leaks_a_part() -> None:
    """No piece told so far ever runs into what turns out to be a stop string."""
    for pieces in cuts("abcabcabd"):
        told, _ = run_matcher(("abcabd",), pieces)
        for number in range(len(told)):
            assert "abc".startswith("".join(told[: number + 1])), pieces


def test_nothing_held_without_need() -> None:
    """Text that no stop string begins with is told at once."""
    assert StopMatcher(("xyz",)).push("abc").text == "abc"
    assert StopMatcher(("xyz",)).push("abx").text == "ab"
