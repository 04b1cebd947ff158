"""The checker itself: it finds each thing that may go wrong, and nothing in what is right."""

from __future__ import annotations

import pytest

from .history import Call, End, History, Message, check

WHOLE = "0 1 2 3 4 5 "


def call(*texts: str, end: End = End.FINISHED, first: int = 1, **fields: object) -> Call:
    """A call that says one token a message, from position `first` on."""
    messages = [Message("started", position=first - 1)]
    messages += [Message("deltas", text, first + i) for i, text in enumerate(texts)]
    if end is End.FINISHED:
        messages.append(Message("finished", position=first + len(texts)))
    reason = "ENGINE_LOST" if end is End.FAILED else ""
    return Call(messages=messages, ends=[end], reason=reason, **fields)  # type: ignore[arg-type] - as given


def kinds(*calls: Call) -> list[str]:
    return [finding.kind for finding in check(History("r", WHOLE, 6, list(calls)))]


ALL = ("0 ", "1 ", "2 ", "3 ", "4 ", "5 ")


@pytest.mark.parametrize(
    "calls",
    [
        [call(*ALL, num_tokens=6)],
        [call(*ALL[:3], end=End.FAILED)],
        [call(*ALL[:3], end=End.LEFT)],
        [call(*ALL[:3], end=End.CUT, was_cut=True)],
        [call(*ALL[:2], end=End.CUT, was_cut=True), call(*ALL[2:], first=3)],
        [call(end=End.LEFT), call(*ALL[:2], end=End.LEFT), call(*ALL[2:], first=3)],
    ],
)
def test_what_is_right_passes(calls: list[Call]) -> None:
    """Whole answers, honest failures, and streams that were taken up again."""
    assert kinds(*calls) == []


@pytest.mark.parametrize(
    ("calls", "kind"),
    [
        ([call(*ALL[:5])], "lost"),
        ([call(*ALL[:2], *ALL[3:])], "lost"),
        ([call(*ALL[:2], *ALL[4:], end=End.FAILED)], "lost"),
        ([call(*ALL[:3], *ALL[2:])], "doubled"),
        ([call(*ALL[:3], *ALL[1:3], *ALL[3:])], "doubled"),
        ([call(*ALL[:3], *ALL[2:3], end=End.LEFT)], "doubled"),
        ([call(*ALL[:3], "7 ", *ALL[4:])], "other"),
        ([call(*ALL[:2], end=End.CUT)], "end"),
        ([call(*ALL, end=End.SILENT)], "end"),
        ([call(*ALL), call()], "end"),
        ([], "end"),
        ([call(*ALL[:2], end=End.LEFT), call(*ALL[2:], first=2)], "position"),
        ([call(*ALL, num_tokens=7)], "count"),
    ],
)
def test_what_is_wrong_is_found(calls: list[Call], kind: str) -> None:
    """Lost, doubled and other text, missing and second ends, positions told twice, a wrong sum."""
    assert kind in kinds(*calls)


def test_two_last_events_are_found() -> None:
    """A failure behind the end, and an end behind the end, are one too many."""
    twice = call(*ALL)
    twice.ends.append(End.FAILED)
    assert kinds(twice) == ["end"]
    more = call(*ALL)
    more.messages.append(Message("deltas", "", 7))
    assert "end" in kinds(more)
