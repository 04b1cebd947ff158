"""Variables about in-situ quantisation."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenwire.server.contract.isq_type import IsqType

from .loading import load_with, problem_of


@pytest.mark.parametrize(
    ("variables", "isq"),
    [
        ({}, None),
        ({"LLM_ISQ_TYPE": "Q4_K"}, None),
        ({"LLM_ENABLE_ISQ": "true"}, IsqType.Q8_0),
        ({"LLM_ENABLE_ISQ": "true", "LLM_ISQ_TYPE": "q4_k"}, IsqType.Q4_K),
    ],
)
def test_isq_is_on_only_where_it_is_enabled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], isq: IsqType | None
) -> None:
    """A type alone changes nothing; without a type it is the most precise one."""
    assert load_with(monkeypatch, tmp_path, **variables).isq is isq


def test_unknown_type(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A type that there is not is told with those that there are."""
    problem = problem_of(monkeypatch, tmp_path, LLM_ISQ_TYPE="Q9")
    assert problem.startswith("LLM_ISQ_TYPE: takes one of Q4_0")
