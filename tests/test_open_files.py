"""A process asks for as many files as its connections need."""

from __future__ import annotations

import resource

import pytest
from tokenwire.open_files import files_for


@pytest.mark.parametrize(
    ("soft", "hard", "allowed", "raised"),
    [(4096, 4096, 1000, None), (256, 4096, 1000, 1128), (256, 512, 384, 512), (64, 64, 1, 64)],
)
def test_files_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, allowed: int, raised: int | None
) -> None:
    """The process lets itself open as many as it may, and promises no more than that."""
    asked: list[int] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: asked.append(pair[0]))
    assert files_for(1000) == allowed
    assert asked == ([] if raised is None else [raised])
