"""Plots as SVG: lines and points whose colours the page's style decides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 560, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 14, 26, 42
_NUM_TICKS = 5
NUM_COLOURS = 6
"""The page's style has a colour for each of `s0`, `s1` and so on."""


@dataclass(frozen=True, slots=True)
class Series:
    """Points in the order of x, of one colour."""

    label: str
    points: Sequence[tuple[float, float]]
    colour: int = 0


@dataclass(frozen=True, slots=True)
class _Axis:
    most: float
    ticks: list[float]

    def share(self, value: float) -> float:
        return value / self.most


def plot(
    title: str, x_title: str, y_title: str, series: Sequence[Series], *, is_scatter: bool = False
) -> str:
    """Returns a figure; both axes begin at zero. Without points it says that there is nothing."""
    drawn = [each for each in series if each.points]
    caption = f"<figcaption>{escape(title)}</figcaption>"
    if not drawn:
        return f'<figure>{caption}<p class="none">Nothing to show.</p></figure>'
    x = _axis(max(x for each in drawn for x, _ in each.points))
    y = _axis(max(y for each in drawn for _, y in each.points))
    parts = [_grid(x, y, x_title, y_title)]
    for each in drawn:
        colour = f"s{each.colour % NUM_COLOURS}"
        places = [(_x(x.share(left)), _y(y.share(up))) for left, up in each.points]
        name = f"<title>{escape(each.label)}</title>"
        if is_scatter:
            dots = "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.2"/>' for a, b in places)
            parts.append(f'<g class="dots {colour}">{name}{dots}</g>')
        else:
            path = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
            parts.append(f'<polyline class="line {colour}" points="{path}">{name}</polyline>')
    label = escape(f"{title}: {y_title} over {x_title}", quote=True)
    return (
        f'<figure>{caption}<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{label}">{"".join(parts)}</svg></figure>'
    )


def _axis(most: float) -> _Axis:
    """An axis from zero whose ticks are round numbers."""
    most = most if most > 0 else 1.0
    raw = most / _NUM_TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    num_steps = math.ceil(most / step - 1e-9)
    return _Axis(num_steps * step, [number * step for number in range(num_steps + 1)])


def _grid(x: _Axis, y: _Axis, x_title: str, y_title: str) -> str:
    parts: list[str] = []
    for tick in y.ticks:
        up = _y(y.share(tick))
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{up}" y2="{up}"/>'
        )
        parts.append(f'<text x="{_LEFT - 7}" y="{up + 4}" text-anchor="end">{tick:g}</text>')
    for tick in x.ticks:
        left = _x(x.share(tick))
        parts.append(
            f'<text x="{left}" y="{_HEIGHT - _BOTTOM + 17}" text-anchor="middle">{tick:g}</text>'
        )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(
        f'<text x="{middle}" y="{_HEIGHT - 7}" text-anchor="middle">{escape(x_title)}</text>'
        f'<text x="4" y="10">{escape(y_title)}</text>'
    )
    return "".join(parts)


def _x(share: float) -> float:
    return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)


def _y(share: float) -> float:
    return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)
