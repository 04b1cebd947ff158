"""`tokenwire bench compare`: two results beside each other."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from ...environment import EXIT_CONFIGURATION
from ...load.report.comparison import Comparison, compare
from ...load.report.page import write_comparison_page
from ...load.report.result import ResultMistake, read_result, write_whole
from ...load.report.wording import describe_ratio, describe_spread, name_ratio

_PIPE_WIDTH = 120


def compare_files(first: Path, second: Path, html: Path | None, *, as_json: bool) -> int:
    """Prints the ratios of two files; returns the exit status."""
    try:
        one, two = read_result(first), read_result(second)
        comparison = compare(one, two)
        if html is not None:
            write_whole(html, write_comparison_page(comparison, one, two).encode())
    except ResultMistake as mistake:
        sys.stderr.write(f"{mistake}\n")
        return EXIT_CONFIGURATION
    if as_json:
        encoded = msgspec.json.format(msgspec.json.encode(comparison), indent=1)
        sys.stdout.write(encoded.decode() + "\n")
    else:
        _print(comparison)
    return 0


def _print(comparison: Comparison) -> None:
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    out = Console(width=width, highlight=False, markup=False)
    for difference in comparison.differences:
        out.print(f"Note: {difference}", style="yellow", soft_wrap=True)
    table = Table("", comparison.first, comparison.second, "ratio", "least", "most", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for ratio in comparison.ratios:
        table.add_row(name_ratio(ratio), *describe_ratio(ratio))
    out.print(table)
    out.print(describe_spread(comparison.num_pairs), style="dim", soft_wrap=True)
