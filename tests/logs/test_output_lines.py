"""Lines of other programs."""

from __future__ import annotations

from tokenwire.logs.output_lines import LineCutter, LineRate


def test_lines_are_put_together() -> None:
    """However a pipe cuts what was written, lines come whole, empty ones not at all."""
    cutter = LineCutter()
    assert cutter.feed(b"on") == []
    assert cutter.feed(b"e\n\n  two \r\nth") == ["one", "two"]
    assert cutter.rest() == ["th"]
    assert cutter.rest() == []


def test_lines_are_bounded() -> None:
    """A program that writes without an end of line costs no memory."""
    cutter = LineCutter(max_characters=10)
    for _ in range(100):
        assert cutter.feed(b"x" * 1000) == []
    assert cutter.feed(b"y\n" + b"z" * 50 + b"\n") == ["x" * 10, "z" * 10]


def test_a_flood_is_left_out_and_counted() -> None:
    """A hundred lines pass at once and twenty a second; the next that passes tells the others."""
    now_s = 0.0
    rate = LineRate(lambda: now_s)
    assert [rate.admit() for _ in range(150)] == [True] * 100 + [False] * 50
    now_s = 1.0
    assert rate.admit()
    assert rate.take_left_out() == {"num_lines_left_out": 50}
    assert rate.take_left_out() == {}
    assert [rate.admit() for _ in range(25)].count(True) == 19
    now_s = 1000.0
    assert [rate.admit() for _ in range(150)].count(True) == 100
