"""Fill-in-the-middle prompts."""

from __future__ import annotations

import pytest
from tokenwire.server.engines.fim import FIM_MARKERS, FimTokens, find_fim_tokens, infill_ids


@pytest.mark.parametrize("names", FIM_MARKERS)
def test_finds_markers(names: tuple[str, str, str]) -> None:
    """Each known triplet is found."""
    ids = {name: 100 + index for index, name in enumerate(names)}
    assert find_fim_tokens(ids.get) == FimTokens(100, 101, 102)


@pytest.mark.parametrize("names", FIM_MARKERS)
def test_needs_all_three(names: tuple[str, str, str]) -> None:
    """Two of three markers are none."""
    assert find_fim_tokens({names[0]: 0, names[2]: 2}.get) is None


def test_id_zero_is_an_id() -> None:
    """A marker may be the first token of the vocabulary."""
    ids = dict(zip(FIM_MARKERS[0], (0, 1, 2), strict=True))
    assert find_fim_tokens(ids.get) == FimTokens(0, 1, 2)


def test_markers_of_different_models_do_not_mix() -> None:
    """Markers count as a triplet only."""
    ids = {FIM_MARKERS[0][0]: 1, FIM_MARKERS[1][1]: 2, FIM_MARKERS[1][2]: 3}
    assert find_fim_tokens(ids.get) is None


def test_order() -> None:
    """Prefix, suffix, then the gap."""
    ids = infill_ids(FimTokens(1, 2, 3), [10, 11], [20], None)
    assert tuple(ids) == (1, 10, 11, 2, 20, 3)


def test_begin_comes_first() -> None:
    """The begin-of-sequence token stands before the markers."""
    assert tuple(infill_ids(FimTokens(1, 2, 3), [], [], 0)) == (0, 1, 2, 3)
