"""The table of faults is whole, and what other folders show of it is shown again."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .results import note
from .table import FAULTS, Fault

_ROOT = Path(__file__).parents[2]
_OWN = sorted(Path(__file__).parent.glob("test_*.py"))


def test_every_row_has_tests() -> None:
    """The 28 faults of our list are there, each with a promise, and every test that is named."""
    numbers = [fault.number for fault in FAULTS]
    assert numbers == sorted(set(numbers))
    assert set(range(1, 29)) <= set(numbers)
    noted = {
        int(number)
        for path in _OWN
        for number in re.findall(r"\bnote\(\s*(\d+)", path.read_text(encoding="utf-8"))
    }
    for fault in FAULTS:
        assert fault.elsewhere or fault.has_own, fault
        assert fault.has_own == (fault.number in noted or fault.number > 100), fault
        for named in fault.elsewhere:
            path, _, test = named.partition("::")
            tree = ast.parse((_ROOT / path).read_text(encoding="utf-8"))
            names = {getattr(node, "name", "") for node in ast.walk(tree)}
            assert not test or test in names, named


@pytest.mark.faults
@pytest.mark.parametrize(
    "fault", [fault for fault in FAULTS if fault.elsewhere], ids=lambda fault: fault.name
)
def test_what_is_shown_elsewhere(fault: Fault) -> None:
    """The tests that a row names pass."""
    command = [*(sys.executable, "-m", "pytest", "-q", "-n0", "-m", ""), *fault.elsewhere]
    run = subprocess.run(
        command,
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:]
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed, run.stdout[-1000:]
    note(fault.number, num_tried=int(passed[1]))
