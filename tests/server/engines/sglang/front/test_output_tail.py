"""What is kept of the lines that an engine writes."""

from __future__ import annotations

import pytest
from tokenwire.server.engines.sglang.front.output_tail import OutputTail


def test_the_cause_is_found() -> None:
    """Of many lines the last that names an error is told, however the pipe cuts them."""
    tail = OutputTail("some/model")
    for piece in (
        b"loading\nTraceback:\n  Val",
        b"ueError: no such ",
        b"tensor\nChildDied: a process",
    ):
        tail.feed(piece)
    assert tail.last_error() == "ValueError: no such tensor"
    assert tail.last_error(beside="x: ValueError: no such tensor") == ""


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        (
            "ValueError: model type `x` is not known.\n\nYou can update it with the command",
            "ValueError: model type `x` is not known. (RuntimeError: 'XForCausalLM' is not "
            "supported)",
        ),
        (
            "ChildDied: a process died",
            "ChildDied: a process died (RuntimeError: 'XForCausalLM' is not supported)",
        ),
        (
            "the engine's host ended\nwhile it loaded",
            "the engine's host ended while it loaded (RuntimeError: 'XForCausalLM' is not "
            "supported)",
        ),
    ],
)
def test_explanation_is_one_line(what: str, sentence: str) -> None:
    """A failure is explained in one line, with the cause and without advice on packages."""
    tail = OutputTail("some/model")
    tail.feed(b"INFO loading\nRuntimeError: 'XForCausalLM' is not supported\n")
    assert tail.explain(what) == sentence


def test_tail_is_bounded() -> None:
    """A process that writes without end costs no memory without end."""
    tail = OutputTail("some/model")
    for _ in range(1000):
        tail.feed(b"x" * 10_000)
    tail.feed(b"\nOSError: full\n")
    assert tail.last_error() == "OSError: full"


def test_words_of_answers_are_hidden() -> None:
    """Of a grammar that did not expect a token the token is not kept."""
    tail = OutputTail("some/model")
    tail.feed(
        b'ERROR sglang.x: Grammar accept_token failed for req 12ab with token 5: "ze" not in\n'
    )
    assert list(tail.kept) == ["ERROR sglang.x: Grammar accept_token failed for req 12ab"]
