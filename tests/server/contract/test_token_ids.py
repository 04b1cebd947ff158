"""Token ids in four bytes each."""

from __future__ import annotations

from sys import getsizeof

import pytest
from tokenwire.server.contract.token_ids import TokenIds

NUM_IDS = 100_000


@pytest.mark.parametrize("ids", [range(NUM_IDS), list(range(NUM_IDS))], ids=["range", "list"])
def test_four_bytes_an_id(ids: range | list[int]) -> None:
    """A long prompt costs four bytes an id, and a part of it too."""
    packed = TokenIds.of(ids)
    num_bytes = getsizeof(packed.data) + getsizeof(packed)
    assert num_bytes < 4 * NUM_IDS + 200
    assert getsizeof(packed[: NUM_IDS // 2].data) < 2 * NUM_IDS + 200


@pytest.mark.parametrize("ids", [(), (0,), (7, 2**31, 2**32 - 2, 7)])
def test_reads_as_a_sequence(ids: tuple[int, ...]) -> None:
    """Ids come out as they went in, whole, one by one and in parts."""
    packed = TokenIds.of(ids)
    assert tuple(packed) == ids
    assert packed.tolist() == list(ids)
    assert [packed[index] for index in range(-len(ids), len(ids))] == [*ids, *ids]
    assert packed[1:] == TokenIds.of(ids[1:])
    assert packed[::-2] == TokenIds.of(ids[::-2])
    assert (len(packed), bool(packed), packed.count(7)) == (len(ids), bool(ids), ids.count(7))
    with pytest.raises(IndexError):
        packed[len(ids)]


def test_equal_by_contents() -> None:
    """Two of the same ids are the same, also as a key."""
    assert {TokenIds.of([1, 2]), TokenIds.of((1, 2)), TokenIds.of((2, 1))} == {
        TokenIds.of([1, 2]),
        TokenIds.of([2, 1]),
    }


@pytest.mark.parametrize("token_id", [-1, -(2**63), 2**32 - 1, 2**32, 2**70])
def test_id_that_does_not_fit(token_id: int) -> None:
    """What is no uint32 stands as the largest one, so that a vocabulary's check refuses it."""
    assert tuple(TokenIds.of((5, token_id, 6))) == (5, 2**32 - 1, 6)
