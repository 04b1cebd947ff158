"""The ids of what a stream says, of which an event names the last one alone."""

from __future__ import annotations

from typing import Any, cast

import pytest
from tokenwire.server.engines.llama_cpp.client import LlamaCppClient, Refused
from tokenwire.server.engines.llama_cpp.output.piece_ids import PieceIds


class Tokenizer:
    """Answers `/tokenize` with the ids of a table, and counts how often it is asked."""

    def __init__(self, ids: list[int] | None) -> None:
        self._ids = ids
        self.num_asked = 0

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        assert (path, body["add_special"], body["parse_special"]) == ("/tokenize", False, False)
        self.num_asked += 1
        if self._ids is None:
            raise Refused(b"no")
        return {"tokens": self._ids}


def of(ids: list[int] | None) -> tuple[PieceIds, Tokenizer]:
    tokenizer = Tokenizer(ids)
    return PieceIds(cast("LlamaCppClient", tokenizer)), tokenizer  # what it asks of a client


async def test_one_token_is_named_by_its_event() -> None:
    """Nothing is asked for nearly every piece, nor for an end without text."""
    pieces, tokenizer = of([1])
    assert await pieces.find({"content": "a", "tokens": [7]}, 1) == (7,)
    assert await pieces.find({"content": "", "stop": True}, 1) == ()
    assert await pieces.find({"prompt_progress": {}}, 0) == ()
    assert tokenizer.num_asked == 0


@pytest.mark.parametrize("ids", [[1, 2, 3], [99, 1, 2, 3]], ids=["whole", "behind a space"])
async def test_character_of_several_tokens(ids: list[int]) -> None:
    """It is tokenised, once for all streams; a space that a tokenizer puts before it is none."""
    pieces, tokenizer = of(ids)
    for _ in range(3):
        assert await pieces.find({"content": "🎉", "tokens": [3]}, 3) == (1, 2, 3)
    assert tokenizer.num_asked == 1


@pytest.mark.parametrize("ids", [[1, 2, 4], [3], None], ids=["other end", "too few", "refused"])
async def test_ids_that_are_not_known(ids: list[int] | None) -> None:
    """Ids that are not those of the piece are not told."""
    pieces, _ = of(ids)
    assert await pieces.find({"content": "🎉", "tokens": [3]}, 3) == ()
