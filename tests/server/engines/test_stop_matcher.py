"""Stop strings in text that comes in pieces."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from random import Random

import msgspec
import pytest
from tokenwire.server.contract.events import (
    ChoiceFinished,
    FinishReason,
    TextDelta,
    TokenLogprob,
)
from tokenwire.server.engines.stop_matcher import StopMatcher

TEXT = "the quick brown fox"


END = ChoiceFinished(FinishReason.LENGTH)


def push(matcher: StopMatcher, text: str, end: ChoiceFinished | None = None) -> str:
    """What is told of one more piece, which ends nothing but by `end`."""
    events = matcher.push(TextDelta(text, 1), end)
    assert [event for event in events if isinstance(event, ChoiceFinished)] == [end] * bool(end)
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def run_tokens(
    stops: tuple[str, ...], tokens: Iterable[TextDelta]
) -> tuple[list[TextDelta], str | None]:
    """The deltas of a whole answer, and what matched."""
    matcher, told = StopMatcher(stops), list[TextDelta]()
    *tokens, last = tokens
    for token, end in [*((token, None) for token in tokens), (last, END)]:
        for event in matcher.push(token, end):
            if isinstance(event, TextDelta):
                told.append(event)
            elif event is END:
                return told, None
            else:
                assert event.reason is FinishReason.STOP
                assert isinstance(event.matched, str)
                return told, event.matched
    raise AssertionError("no end came")


def run_matcher(stops: tuple[str, ...], pieces: list[str]) -> tuple[list[str], str | None]:
    """What is told of each piece that brings something, and what matched."""
    told, matched = run_tokens(stops, [TextDelta(piece, 1) for piece in pieces])
    return [delta.text for delta in told], matched


def run(stops: tuple[str, ...], pieces: list[str]) -> tuple[str, str | None]:
    """What is told in the end, and what matched."""
    told, matched = run_matcher(stops, pieces)
    return "".join(told), matched


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
    assert push(matcher, "quick bro") == "quick "
    assert push(matcher, "nze") == "bronze"


def test_nothing_is_held_back_at_the_end() -> None:
    """What was held back is told once no more can come."""
    matcher = StopMatcher(("brown",))
    assert push(matcher, "bro") == ""
    assert push(matcher, "", END) == "bro"


def test_no_stops_hold_nothing() -> None:
    """Without stop strings all text passes at once."""
    assert push(StopMatcher(()), TEXT) == TEXT


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
    assert push(StopMatcher(("xyz",)), "abc") == "abc"
    assert push(StopMatcher(("xyz",)), "abx") == "ab"


def token(token_id: int, text: str) -> TextDelta:
    logprob = TokenLogprob(token_id, -token_id / 8, text.encode())
    return TextDelta(text, 1, (token_id,), (logprob,))


def random_tokens(random: Random) -> list[TextDelta]:
    """A text of few letters, cut into tokens; some have no text, as within a character."""
    return [
        token(token_id, "".join(random.choices("ab🌍", k=random.randrange(4))))
        for token_id in range(random.randrange(1, 12))
    ]


def together(tokens: Sequence[TextDelta]) -> TextDelta:
    """Deltas as one."""
    return TextDelta(
        "".join(each.text for each in tokens),
        sum(each.num_tokens for each in tokens),
        tuple(token_id for each in tokens for token_id in each.token_ids),
        tuple(logprob for each in tokens for logprob in each.logprobs),
    )


def begun_in(kept: str, tokens: Sequence[TextDelta]) -> list[TextDelta]:
    """The tokens whose text begins in `kept`, the beginning of their text."""
    starts = itertools.accumulate((len(each.text) for each in tokens), initial=0)
    return [each for start, each in zip(starts, tokens, strict=False) if start < len(kept)]


@pytest.mark.parametrize("seed", range(300))
def test_what_belongs_together_stays_together(seed: int) -> None:
    """However a text is cut into tokens, it is told as in one push, with the tokens behind it."""
    random = Random(seed)
    tokens = random_tokens(random)
    stops = tuple(
        "".join(random.choices("ab🌍", k=random.randrange(1, 5)))
        for _ in range(random.randrange(3))
    )
    in_one, matched_in_one = run_tokens(stops, [together(tokens)])
    told, matched = run_tokens(stops, tokens)
    whole, kept = together(told), together(in_one).text
    assert matched == matched_in_one
    assert whole.text == kept
    if matched is None:
        assert whole == together(tokens) == together(in_one)
    else:
        assert whole == msgspec.structs.replace(together(begun_in(kept, tokens)), text=kept)
    for delta in told:
        assert len(delta.token_ids) == len(delta.logprobs) == delta.num_tokens
        assert [logprob.token_id for logprob in delta.logprobs] == list(delta.token_ids)


@pytest.mark.parametrize("seed", range(100))
def test_token_comes_no_later_than_its_text(seed: int) -> None:
    """No text is told before the token that it begins with, and no token before its text."""
    random = Random(seed)
    tokens = random_tokens(random)
    told, _ = run_tokens(("aab", "b🌍"), tokens)
    texts = list(itertools.accumulate(delta.text for delta in told))
    ids = list(itertools.accumulate(delta.token_ids for delta in told))
    # The last delta may bring tokens without text.
    for text, so_far in zip(texts[:-1], ids[:-1], strict=True):
        assert so_far == together(begun_in(text, tokens)).token_ids


def test_token_without_text_goes_with_the_next() -> None:
    """The first bytes of a character are told with the character, or dropped with it."""
    tokens = [token(1, "a"), token(2, ""), token(3, "🌍"), token(4, "b"), token(5, "")]
    told, _ = run_tokens((), tokens)
    assert [delta.token_ids for delta in told] == [(1,), (2, 3), (4,), (5,)]
    told, matched = run_tokens(("🌍",), tokens)
    assert ([delta.token_ids for delta in told], matched) == ([(1,)], "🌍")


def test_logprob_without_id_and_text_is_told() -> None:
    """Where an engine tells no ids, the log-probabilities of the last bytes come all the same."""
    last = msgspec.structs.replace(token(1, ""), token_ids=())
    assert StopMatcher(()).push(last, END) == (last, END)


def test_choice_is_kept() -> None:
    """What is told is of the choice that was pushed, its end too."""
    events = StopMatcher(("b",)).push(TextDelta("ab", 1, choice=2))
    assert events == (
        TextDelta("a", 1, choice=2),
        ChoiceFinished(FinishReason.STOP, "b", choice=2),
    )
