"""Items of several tokens, divided."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tokenwire.server.contract.events import TextDelta, TokenLogprob
from tokenwire.server.engines.sglang.host.output.token_split import TokenSplit

TOKENS = {
    1: b"The",
    2: b" cat",
    3: b"\xf0\x9f",
    4: b"\x8e\x88",
    5: b"\xe6",
    6: b"\xbc",
    7: b"\xa2!",
    8: b"",
    9: b" \xf0",
    10: b"\x9f\x8e\x88",
}


class Texts:
    """The texts of a small vocabulary."""

    def of(self, token_id: int) -> bytes:
        return TOKENS[token_id]


def split() -> TokenSplit:
    texts: Any = Texts()  # all that is asked of them
    return TokenSplit(texts, 2)


def logprobs(*ids: int) -> list[TokenLogprob]:
    return [TokenLogprob(token_id, -1.0, TOKENS[token_id]) for token_id in ids]


def pieces(deltas: list[TextDelta]) -> list[tuple[str, tuple[int, ...]]]:
    for delta in deltas:
        assert delta.choice == 2
        assert delta.num_tokens == len(delta.token_ids)
        assert [each.token_id for each in delta.logprobs] == list(delta.token_ids)
    return [(delta.text, delta.token_ids) for delta in deltas]


def test_each_token_gets_its_text() -> None:
    """An item of several tokens becomes a piece for each; a character belongs to its last one."""
    ids = (1, 2, 3, 4, 8)
    told = split().push("The cat🎈", ids, logprobs(*ids), is_last=False)
    assert pieces(told) == [("The", (1,)), (" cat", (2,)), ("", (3,)), ("🎈", (4,)), ("", (8,))]


def test_late_text() -> None:
    """A token whose text is late comes with it, also where a part of it was in time."""
    divided = split()
    assert pieces(divided.push("The", (1, 2, 3), logprobs(1, 2, 3), is_last=False)) == [
        ("The", (1,))
    ]
    assert pieces(divided.push(" ca", (), is_last=False)) == [(" ca", (2,))]
    assert pieces(divided.push("t🎈", (4,), logprobs(4), is_last=True)) == [
        ("t", ()),
        ("", (3,)),
        ("🎈", (4,)),
    ]


def test_unfinished_character_at_the_end() -> None:
    """The last item brings every token, those of a character that stays unfinished, too."""
    told = split().push("The", (1, 5, 6), logprobs(1, 5, 6), is_last=True)
    assert [delta.text for delta in told] == ["The", "", ""]
    assert [token_id for delta in told for token_id in delta.token_ids] == [1, 5, 6]


def test_text_that_is_not_the_tokens() -> None:
    """Where text and tokens do not fit, an item stays whole, and so do those behind it."""
    divided = split()
    assert pieces(divided.push("A cat", (1, 2), logprobs(1, 2), is_last=False)) == [
        ("A cat", (1, 2))
    ]
    assert pieces(divided.push("The cat", (1, 2), logprobs(1, 2), is_last=False)) == [
        ("The cat", (1, 2))
    ]


@pytest.mark.parametrize("seed", range(50))
def test_nothing_is_lost(seed: int) -> None:
    """However tokens come together and text is late, both come through, in order."""
    chance = random.Random(seed)
    words = [(1,), (2,), (3, 4), (5, 6, 7), (8,), (9, 10)]
    ids = [token_id for _ in range(20) for token_id in chance.choice(words)]
    text = b"".join(map(TOKENS.__getitem__, ids)).decode()
    divided = split()
    told: list[TextDelta] = []
    num_ids = num_characters = 0
    while num_ids < len(ids) or num_characters < len(text):
        end = min(len(ids), num_ids + chance.randint(0, 4))
        is_last = end == len(ids)
        there = b"".join(map(TOKENS.__getitem__, ids[:end])).decode(errors="ignore")
        at = (
            len(there)
            if is_last
            else chance.randint(num_characters, max(num_characters, len(there)))
        )
        new = ids[num_ids:end]
        told += divided.push(text[num_characters:at], new, logprobs(*new), is_last=is_last)
        num_ids, num_characters = end, at
    assert "".join(delta.text for delta in told) == text
    assert [token_id for delta in told for token_id in delta.token_ids] == ids
    assert [each.token_id for delta in told for each in delta.logprobs] == ids
