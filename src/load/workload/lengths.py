"""Numbers of tokens, drawn from a distribution."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

FORMS = "128, uniform:64:256, normal:128:32 or file:lengths.txt"
Draw = Callable[[random.Random], int]


class LengthsMistake(Exception):
    """A text names no distribution, or its file holds no numbers."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Where lengths come from. `text` is the form that names it."""

    text: str
    draw: Draw


def parse_lengths(text: str) -> Lengths:
    """Reads `N`, `uniform:LEAST:MOST`, `normal:MEAN:DEVIATION` or `file:PATH`.

    A normal distribution is cut at 1 and rounded. A file has one length a line; each is as likely
    as it is frequent there.

    Raises:
        LengthsMistake: the text is of no such form, or the file holds no such numbers.
    """
    kind, _, rest = text.partition(":")
    if kind == "file" and rest:
        return Lengths(text, _from_file(Path(rest)))
    numbers = _numbers([kind] if not rest else rest.split(":"))
    match kind, numbers:
        case "uniform", [least, most] if 1 <= least <= most:
            return Lengths(text, lambda generator: generator.randint(least, most))
        case "normal", [mean, deviation] if mean >= 1 and deviation >= 0:
            return Lengths(text, lambda generator: max(1, round(generator.gauss(mean, deviation))))
        case _, [length] if not rest and length >= 1:
            return Lengths(text, lambda _: length)
        case _:
            raise LengthsMistake(f"takes {FORMS}, got {text!r}")


def _from_file(path: Path) -> Draw:
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise LengthsMistake(f"{path} cannot be read: {error}") from error
    lengths = _numbers(lines)
    if not lengths or min(lengths) < 1:
        raise LengthsMistake(f"{path} must hold one length a line, each an integer of at least 1")
    return lambda generator: generator.choice(lengths)


def _numbers(texts: list[str]) -> list[int]:
    """Returns the integers, or none at all where one of them is none."""
    return [int(text) for text in texts] if all(text.isdecimal() for text in texts) else []
