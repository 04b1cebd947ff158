"""The requests of a measurement, one after the other, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..faces.face import LoadRequest
from .conversations import DatasetMistake, Sample, estimate_tokens
from .lengths import Lengths
from .words import WordFit, draw_words


@dataclass(frozen=True, slots=True)
class SharedPrefixes:
    """Beginnings that prompts have in common: `num_prefixes` of them, `num_tokens` long each."""

    num_tokens: int = 0
    num_prefixes: int = 1


def draw_requests(
    inputs: Lengths, outputs: Lengths, shared: SharedPrefixes, fit: WordFit, seed: int
) -> Iterator[LoadRequest]:
    """Yields requests without end, of random words.

    A shared beginning stands before the drawn length: it comes on top of it.
    """
    generator = random.Random(seed)  # noqa: S311 - drawn to be repeated, not to be secret
    num_prefix_words = round(shared.num_tokens / fit.per_word)
    prefixes = [draw_words(generator, num_prefix_words) for _ in range(shared.num_prefixes)]
    while True:
        prefix = generator.choice(prefixes)
        num_words = fit.num_words(inputs.draw(generator))
        prompt = f"{prefix} {draw_words(generator, num_words)}".lstrip()
        num_tokens = fit.num_tokens(num_prefix_words + num_words)
        yield LoadRequest(prompt, outputs.draw(generator), num_tokens)


def draw_samples(
    samples: Sequence[Sample], outputs: Lengths | None, max_prompt_tokens: int, seed: int
) -> Iterator[LoadRequest]:
    """Yields requests without end: the samples shuffled, again and again in that order.

    Left out are prompts that seem longer than `max_prompt_tokens`, and without `outputs` those
    whose answer is of unknown length.

    Raises:
        DatasetMistake: nothing is left.
    """
    generator = random.Random(seed)  # noqa: S311 - drawn to be repeated, not to be secret
    usable = [
        sample
        for sample in samples
        if estimate_tokens(sample.prompt) <= max_prompt_tokens
        and (outputs or sample.num_output_tokens)
    ]
    if not usable:
        raise DatasetMistake(
            f"none of {len(samples)} prompts is left: each is longer than {max_prompt_tokens} "
            "tokens, or has no answer that tells how long its own should be"
        )
    generator.shuffle(usable)
    return _repeat(usable, outputs, generator)


def _repeat(
    samples: Sequence[Sample], outputs: Lengths | None, generator: random.Random
) -> Iterator[LoadRequest]:
    while True:
        for sample in samples:
            num_output = outputs.draw(generator) if outputs else sample.num_output_tokens
            assert num_output is not None, "samples without a length are left out"
            yield LoadRequest(sample.prompt, num_output, estimate_tokens(sample.prompt))
