"""The page and this suite against each other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from ..docs.pages import read_page

PAGE = read_page("rest.md")
HERE = Path(__file__).parent


def in_one_line(text: str) -> str:
    """Returns a text without its line breaks."""
    return " ".join(text.split())


def lines_of_the_page() -> list[str]:
    """Returns the points of the page; its tables are read by the tests themselves."""
    points = re.findall(r"^- (.+?)(?=^- |^$|\Z)", PAGE + "\n", flags=re.MULTILINE | re.DOTALL)
    return [in_one_line(point) for point in points]


def quotes() -> list[str]:
    """Returns what the tests here quote."""
    found: list[str] = []
    for file in sorted(HERE.glob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef):
                docstring = ast.get_docstring(node) or ""
                for block in re.findall(r"^>.*(?:\n>.*)*", docstring, flags=re.MULTILINE):
                    found.append(in_one_line(re.sub(r"^> ?", "", block, flags=re.MULTILINE)))
    return found


def test_every_quote_stands_on_the_page() -> None:
    """What a test says that the page says, the page says in these words."""
    page = in_one_line(PAGE)
    assert [quote for quote in quotes() if quote not in page] == []


def test_every_line_of_the_page_is_quoted() -> None:
    """Of each point every word is quoted by some test."""
    longest_first = sorted(quotes(), key=len, reverse=True)
    untested: list[str] = []
    for line in lines_of_the_page():
        rest = line
        for quote in longest_first:
            rest = rest.replace(quote, " ")
        if rest.strip():
            untested.append(rest.strip())
    assert len(lines_of_the_page()) > 40
    assert untested == []
