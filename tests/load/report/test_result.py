from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenwire.load.report.result import (
    SCHEMA,
    Result,
    ResultMistake,
    encode_result,
    read_result,
    write_whole,
)

from .runs import steady


def test_file_comes_back_as_it_was(tmp_path: Path) -> None:
    """It says its version first, and what its words mean."""
    path = tmp_path / "a.json"
    result = Result.of(steady(3, 0.2, "a"), steady(2, 0.1))
    write_whole(path, encode_result(result))
    assert read_result(path) == result
    document = json.loads(path.read_text())
    assert next(iter(document)) == "schema"
    assert document["schema"] == SCHEMA
    spreads = {name for name in document["runs"][0] if name.endswith("_s")} - {"duration_s"}
    assert spreads - {"itl_quantiles_s"} <= document["definitions"].keys()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no result of tokenwire.bench/1"),
        ('{"schema":"tokenwire.bench/2","runs":[]}', "is no result of tokenwire.bench/1"),
        ('{"runs":[{"label":7}]}', "is no result of tokenwire.bench/1"),
        ('{"schema":"tokenwire.bench/1","runs":[]}', "holds no run"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    """By name, with what is wrong."""
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ResultMistake, match=rf"a\.json {message}"):
        read_result(path)


def test_no_half_files(tmp_path: Path) -> None:
    """What cannot be written leaves nothing behind."""
    (tmp_path / "a").mkdir()
    with pytest.raises(ResultMistake, match="cannot be written"):
        write_whole(tmp_path / "a", b"x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]
    with pytest.raises(ResultMistake, match="cannot be read"):
        read_result(tmp_path / "absent")
