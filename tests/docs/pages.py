"""The pages, and the parts of them that tests compare with the code."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = (
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "examples" / "README.md",
    *sorted(DOCS.glob("*.md")),
)


def read_page(name: str) -> str:
    """Returns the text of a page, by its path from docs/."""
    return (DOCS / name).read_text(encoding="utf-8")


def table_below(text: str, heading: str) -> list[list[str]]:
    """Returns the rows of the first table behind a heading, without its head."""
    lines = text[text.index(f"{heading}\n") :].splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("|"))
    rows: list[list[str]] = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows
