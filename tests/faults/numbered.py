"""What the engines of these tests say: a stream's own name and a number, each token."""

from __future__ import annotations


def token_text(stream: str, number: int) -> str:
    """Returns one token, which tells a gap, a repetition and another stream's text by itself."""
    return f"{stream}:{number} "


def whole_text(stream: str, num_tokens: int) -> str:
    """Returns a whole answer."""
    return "".join(token_text(stream, number) for number in range(num_tokens))
