"""Writes the table of docs/reliability.md: `python -m scripts.document_faults FILE`, from the root.

FILE holds what `make test-faults` found.
"""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.results import Result, read
from tests.faults.table import FAULTS, Fault

PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
_START = "<!-- faults: written by make test-faults -->\n"
_END = "<!-- end of faults -->"
_HEAD = ("Fault", "What is promised", "Tried", "Streams open", "Lost", "Doubled", "Recovery, s")


def main(file: Path) -> int:
    """Replaces the table of the page, where every row has a result."""
    results = read(file)
    missing = [fault for fault in FAULTS if not _of(fault, results)]
    if any(not fault.needs_time for fault in missing):
        names = [fault.name for fault in missing]
        print(f"not all tests ran (no result of {names}): docs/reliability.md stays")
        return 0
    rows = [_HEAD, ("---",) * len(_HEAD), *(_row(fault, _of(fault, results)) for fault in FAULTS)]
    lines = [
        f"Found by `make test-faults` on {datetime.now(UTC):%Y-%m-%d}, on two shared CPUs.",
        "",
    ]
    lines += ["| " + " | ".join(cells) + " |" for cells in rows]
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(_START)
    _, _, after = rest.partition(_END)
    if not rest:
        raise SystemExit("docs/reliability.md has no place for the table of faults")
    table = "\n".join(lines)
    PAGE.write_text(f"{before}{_START}{table}\n{_END}{after}", encoding="utf-8")
    print("wrote docs/reliability.md")
    return 0


def _of(fault: Fault, results: Sequence[Result]) -> list[Result]:
    return [result for result in results if result.number == fault.number]


def _row(fault: Fault, results: Sequence[Result]) -> tuple[str, ...]:
    if not results:
        return (fault.name, fault.promise, "not in this run", *("-",) * 4)
    num_open = max(result.num_open for result in results)
    times_s = [result.recovery_s for result in results if result.recovery_s is not None]
    return (
        fault.name,
        fault.promise,
        f"{sum(result.num_tried for result in results):,}",
        f"{num_open:,}" if num_open else "-",
        *(_sum(name, results) if num_open else "-" for name in ("num_lost", "num_doubled")),
        f"{max(times_s):.1f}" if times_s else "-",
    )


def _sum(name: str, results: Sequence[Result]) -> str:
    counts = [getattr(result, name) for result in results]
    return "-" if None in counts else str(sum(counts))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
