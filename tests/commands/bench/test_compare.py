"""`tokenwire bench compare`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenwire.commands.bench.compare import compare_files
from tokenwire.load.report.result import Result, encode_result

from ...load.report.runs import steady
from ...test_cli import tokenwire


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    first.write_bytes(encode_result(Result.of(steady(9, 1.0, "a"))))
    second.write_bytes(encode_result(Result.of(steady(9, 2.0, "b"))))
    return first, second


@pytest.mark.usefixtures("files")
async def test_terminal_and_page(tmp_path: Path) -> None:
    """The command: ratios on the terminal, plots on a page."""
    status, out, err = await tokenwire(
        tmp_path, "bench", "compare", "a.json", "b.json", "--html", "c.html"
    )
    assert (status, err) == (0, "")
    rows = {line.split("  ")[0].strip(): line.split() for line in out.splitlines()}
    assert rows["TTFT p50, ms"][3:6] == ["1,040", "2,080", "2.00"]
    assert rows["ITL p50, ms"][-2:] == ["-", "-"]
    assert "b against a" in (tmp_path / "c.html").read_text()


def test_json(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """For other programs."""
    assert compare_files(*files, None, as_json=True) == 0
    comparison = json.loads(capsys.readouterr().out)
    assert (comparison["first"], comparison["second"]) == ("a", "b")
    (ttft,) = [ratio for ratio in comparison["ratios"] if ratio["name"] == "TTFT p50"]
    assert ttft["ratio"] == pytest.approx(2)


def test_mistakes(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is none is named; the status is that of a mistake."""
    absent = files[0].with_name("absent.json")
    assert compare_files(files[0], absent, None, as_json=False) == 2
    assert "absent.json cannot be read" in capsys.readouterr().err
