from __future__ import annotations

import itertools

import pytest
from tokenwire.load.faces.face import LoadRequest
from tokenwire.load.workload.conversations import DatasetMistake, Sample
from tokenwire.load.workload.lengths import parse_lengths
from tokenwire.load.workload.words import WordFit
from tokenwire.load.workload.workload import SharedPrefixes, draw_requests, draw_samples

FIT = WordFit(10, 1, True)


def take(count: int, shared: SharedPrefixes, seed: int = 0) -> list[LoadRequest]:
    drawn = draw_requests(parse_lengths("50"), parse_lengths("uniform:2:4"), shared, FIT, seed)
    return list(itertools.islice(drawn, count))


def test_lengths_are_those_drawn() -> None:
    """Words make the tokens that the template leaves."""
    for request in take(20, SharedPrefixes()):
        assert len(request.prompt.split()) == 40
        assert request.num_prompt_tokens == 50
        assert 2 <= request.max_tokens <= 4


def test_shared_prefixes_come_on_top() -> None:
    """Prompts begin alike in as many ways as asked for, and go on as before."""
    prompts = [request.prompt.split() for request in take(60, SharedPrefixes(30, 3))]
    assert {len(words) for words in prompts} == {70}
    assert len({tuple(words[:30]) for words in prompts}) == 3
    assert len({tuple(words[30:]) for words in prompts}) == 60
    assert take(1, SharedPrefixes(30, 3))[0].num_prompt_tokens == 80


def test_seed_repeats_them() -> None:
    """The same seed gives the same requests, another one others."""
    assert take(9, SharedPrefixes(5)) == take(9, SharedPrefixes(5))
    assert take(9, SharedPrefixes(5)) != take(9, SharedPrefixes(5), seed=1)


def test_samples_are_shuffled_and_repeat() -> None:
    """Each comes once before any comes again; too long ones and those without length do not."""
    samples = [Sample(f"prompt {number}", number + 1) for number in range(9)]
    left_out = [Sample("x" * 4000, 5), Sample("no length", None)]
    drawn = draw_samples([*samples, *left_out], None, 100, seed=1)
    first, second = (list(itertools.islice(drawn, 9)) for _ in range(2))
    assert first == second
    assert {(r.prompt, r.max_tokens) for r in first} == {
        (s.prompt, s.num_output_tokens) for s in samples
    }
    assert [r.prompt for r in first] != [s.prompt for s in samples]


def test_lengths_win_over_samples() -> None:
    """With lengths of their own, answers need none of the file's."""
    drawn = draw_samples([Sample("a", None)], parse_lengths("7"), 100, seed=0)
    assert next(drawn).max_tokens == 7
    with pytest.raises(DatasetMistake, match="none of 1 prompts is left"):
        draw_samples([Sample("a", None)], None, 100, seed=0)
