from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

from tokenwire.load.report.comparison import compare
from tokenwire.load.report.page import write_comparison_page, write_page
from tokenwire.load.report.result import Result, Run

from .runs import failed, run_of, steady

_VOID = {"meta", "circle", "line", "br"}


class _Tags(HTMLParser):
    """Checks that what opens closes, and keeps the names and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(page: str) -> _Tags:
    tags = _Tags()
    tags.feed(page)
    tags.close()
    assert tags.open == []
    return tags


def with_error(run: Run) -> Run:
    return replace(run, errors=run_of([failed(100, "<b>", "</script>&")]).errors, label="<i>&</i>")


def test_page_stands_alone() -> None:
    """No address, script or file beside it; it has plots, light and dark."""
    page = write_page(Result.of(steady(5, 0.2, "a")))
    tags = read(page)
    assert not {"script", "link", "img", "iframe"} & {name for name, _ in tags.seen}
    assert not any({"src", "href"} & attributes.keys() for _, attributes in tags.seen)
    assert "url(" not in page
    assert "@import" not in page
    assert "prefers-color-scheme: dark" in page
    figures = [attributes for name, attributes in tags.seen if name == "svg"]
    assert len(figures) == 6
    assert all(figure["aria-label"] for figure in figures)


def test_words_of_others_are_text() -> None:
    """Labels and what servers say stay text, whatever is in them."""
    page = write_page(Result.of(with_error(steady(3, 0.2))))
    read(page)
    assert "<i>&</i>" not in page
    assert "&lt;i&gt;&amp;&lt;/i&gt;" in page
    assert "</script>&" not in page


def test_run_without_answers_has_a_page() -> None:
    """It says that there is nothing to plot, and what failed."""
    page = write_page(Result.of(run_of([failed(100, "HTTP 503", "full")])))
    read(page)
    assert "Nothing to show." in page
    assert "HTTP 503" in page


def test_runs_lie_over_each_other() -> None:
    """Each run has a line of its own colour, named in the key."""
    page = write_page(Result.of(steady(5, 0.2), steady(5, 0.4)))
    assert re.findall(r'<li class="(s\d)"><i></i><span>(run \d)', page) == [
        ("s0", "run 1"),
        ("s1", "run 2"),
    ]
    assert page.count('class="line s1"') == 5


def test_comparison_colours_what_is_sure() -> None:
    """A ratio is better or worse where all of its spread lies on one side; otherwise neither."""
    first = Result.of(steady(30, 1.0, "a"))
    second = Result.of(steady(30, 3.0, "<b>"))
    page = write_comparison_page(compare(first, second), first, second)
    read(page)
    assert '<td class="worse">3.00</td>' in page
    assert '<td class="better">' not in page
    assert "&lt;b&gt; against a" in page
    back = write_comparison_page(compare(second, first), second, first)
    assert '<td class="better">0.33</td>' in back
