from __future__ import annotations

import re

import pytest
from tokenwire.load.report.plots import Series, plot


def ticks(figure: str, anchor: str) -> list[float]:
    pattern = rf'text-anchor="{anchor}">([\d.e+-]+)</text>'
    return [float(text) for text in re.findall(pattern, figure)]


@pytest.mark.parametrize(
    ("most", "expected"),
    [(100, [0, 20, 40, 60, 80, 100]), (7.3, [0, 2, 4, 6, 8]), (0.0012, [0, 0.00025, 0.0005])],
)
def test_ticks_are_round(most: float, expected: list[float]) -> None:
    """An axis begins at zero, has few ticks and reaches the largest value."""
    figure = plot("t", "x", "y", [Series("a", [(0, 0), (1, most)])])
    found = ticks(figure, "end")
    assert found[: len(expected)] == pytest.approx(expected)
    assert found[-1] >= most


def test_points_lie_within_the_plot() -> None:
    """Zero is at the bottom left, the ends of the axes at the top right."""
    figure = plot("t", "x", "y", [Series("a", [(0, 0), (100, 100)])])
    (points,) = re.findall(r'points="([^"]+)"', figure)
    (x0, y0), (x1, y1) = (map(float, point.split(",")) for point in points.split())
    assert x0 < x1 <= 560
    assert 260 > y0 > y1 >= 0


def test_values_that_are_all_zero() -> None:
    """They are a line at the bottom, not a division by zero."""
    assert "polyline" in plot("t", "x", "y", [Series("a", [(0, 0), (0, 0)])])
