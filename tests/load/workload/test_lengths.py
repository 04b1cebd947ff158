from __future__ import annotations

import random
import statistics
from pathlib import Path

import pytest
from tokenwire.load.workload.lengths import LengthsMistake, parse_lengths


def draw(text: str, count: int = 2000) -> list[int]:
    lengths = parse_lengths(text)
    generator = random.Random(1)
    return [lengths.draw(generator) for _ in range(count)]


def test_fixed_and_uniform() -> None:
    """A number is itself; uniform has both its ends."""
    assert set(draw("128")) == {128}
    assert set(draw("uniform:3:6")) == {3, 4, 5, 6}


def test_normal_is_cut_at_one() -> None:
    """Mean and deviation are those asked for; no length is below one."""
    lengths = draw("normal:100:10")
    assert statistics.fmean(lengths) == pytest.approx(100, rel=0.02)
    assert statistics.stdev(lengths) == pytest.approx(10, rel=0.1)
    assert min(draw("normal:2:10")) == 1


def test_file_is_drawn_as_often_as_it_says(tmp_path: Path) -> None:
    """A length that stands there three times of four is drawn so."""
    path = tmp_path / "lengths.txt"
    path.write_text("5\n5\n\n5\n9\n")
    lengths = draw(f"file:{path}")
    assert set(lengths) == {5, 9}
    assert lengths.count(5) / len(lengths) == pytest.approx(0.75, abs=0.05)


@pytest.mark.parametrize(
    "text",
    ["", "0", "-3", "1.5", "uniform:6:3", "uniform:3", "normal:5", "normal:0:1", "x:1:2", "128:1"],
)
def test_mistakes_show_the_forms(text: str) -> None:
    """What names no distribution is refused with what would."""
    with pytest.raises(LengthsMistake, match="takes 128, uniform:64:256"):
        parse_lengths(text)


@pytest.mark.parametrize("content", ["", "7\nx\n", "0\n"])
def test_file_without_lengths(tmp_path: Path, content: str) -> None:
    """A file that holds anything else is refused by its name."""
    path = tmp_path / "lengths.txt"
    path.write_text(content)
    with pytest.raises(LengthsMistake, match=r"lengths\.txt must hold one length a line"):
        parse_lengths(f"file:{path}")
    with pytest.raises(LengthsMistake, match="cannot be read"):
        parse_lengths(f"file:{tmp_path}/absent")
