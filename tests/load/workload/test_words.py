from __future__ import annotations

import random

from tokenwire.load.workload.words import WordFit, draw_words, fit_words


async def test_fit_finds_template_and_words() -> None:
    """From two counts it knows what the template takes, and what a word does."""

    async def count(prompt: str) -> int:
        return 30 + 2 * len(prompt.split())

    fit = await fit_words(count, seed=1)
    assert fit == WordFit(30, 2, True)
    assert (fit.num_words(130), fit.num_tokens(50)) == (50, 130)
    assert fit.num_words(1) == 1  # nothing is shorter than the template and a word


async def test_no_count_takes_a_word_for_a_token() -> None:
    """So it is where the server does not say."""

    async def count(_prompt: str) -> None:
        return None

    fit = await fit_words(count, seed=1)
    assert not fit.is_measured
    assert fit.num_words(77) == fit.num_tokens(77) == 77


def test_prompts_have_beginnings_of_their_own() -> None:
    """A prefix cache finds next to nothing in them; the same seed gives the same words."""
    generator = random.Random(5)
    prompts = {draw_words(generator, 40) for _ in range(200)}
    assert len({" ".join(prompt.split()[:4]) for prompt in prompts}) > 195
    assert draw_words(random.Random(5), 40) in prompts
