"""Two pages of metrics made one."""

from __future__ import annotations

from tokenwire.edge.metrics.page import has_metrics, merge_pages

FRONT = b"""\
# HELP a_total Counted.
# TYPE a_total counter
a_total 1.0
# HELP both Of both.
# TYPE both gauge
both{process="front"} 1.0
"""
EDGE = b"""\
# HELP both Of both.
# TYPE both gauge
both{process="edge"} 2.0
# HELP b Measured.
# TYPE b gauge
b 3.0
"""
MERGED = b"""\
# HELP a_total Counted.
# TYPE a_total counter
a_total 1.0
# HELP both Of both.
# TYPE both gauge
both{process="front"} 1.0
both{process="edge"} 2.0
# HELP b Measured.
# TYPE b gauge
b 3.0
"""


def test_a_metric_of_both_stands_once() -> None:
    """A metric of both has one head, and the samples of both below it."""
    assert merge_pages(FRONT, EDGE) == MERGED


def test_open_metrics_end_once() -> None:
    """Each page has an end of its own; the one that is made of them has one."""
    end = b"# EOF\n"
    assert merge_pages(FRONT + end, EDGE + end) == MERGED + end


def test_a_page_alone_stays() -> None:
    """Without the front's page, the edge's stays as it is."""
    assert merge_pages(b"", EDGE) == EDGE


def test_what_is_no_page() -> None:
    """A text of something else has no metrics."""
    assert has_metrics(FRONT)
    assert not has_metrics(b"<html># HELP</html>")
    assert not has_metrics(b"")
