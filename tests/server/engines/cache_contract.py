"""How every engine reuses what it has read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from uuid import uuid4

from tokenwire.server.contract.engine import Engine
from tokenwire.server.contract.events import Started
from tokenwire.server.contract.prompts import RenderedPrompt, TextPrompt
from tokenwire.server.contract.token_ids import TokenIds

from .generation import (
    GREEDY,
    PARIS,
    Contract,
    answer,
    drain,
    request_for,
)

PREFIX_TOKENS = 1_000
CHANCE_TOKENS = 8
"""More tokens than two random beginnings have in common."""


async def prompts_of_one_prefix(
    engine: Engine, *tails: str, num_tokens: int = PREFIX_TOKENS
) -> list[RenderedPrompt]:
    """Prompts that share exactly their first tokens, which nobody has sent before."""
    # Numbers in words: a text that does not repeat itself.
    text = f"{uuid4().hex}: " + ", ".join(f"item {number} of the list" for number in range(400))
    prefix = (await engine.render(TextPrompt(text))).token_ids[:num_tokens]
    assert len(prefix) == num_tokens
    ends = [(await engine.render(TextPrompt(tail))).token_ids for tail in tails]
    return [RenderedPrompt(TokenIds.of((*prefix, *end))) for end in ends]


class CacheContract(Contract):
    """How every engine reuses what it has read."""

    async def test_thousand_token_prefix_is_cached(self, engine: Engine) -> None:
        """Of a second prompt with the same 1,000 tokens before it, 95 % come from the cache."""
        first, second = await prompts_of_one_prefix(engine, " First of all", " Next comes this")
        params = replace(GREEDY, max_tokens=2)
        cold = (await drain(engine.generate(request_for(first, params)))).finished
        warm = (await drain(engine.generate(request_for(second, params)))).finished
        assert cold.num_cached_prompt_tokens < CHANCE_TOKENS
        assert warm.num_cached_prompt_tokens >= 0.95 * len(second.token_ids)
        assert warm.num_cached_prompt_tokens <= PREFIX_TOKENS

    async def test_cached_prefix_changes_nothing(self, engine: Engine) -> None:
        """The text behind a cached prefix is the text behind one that was read."""
        (prompt,) = await prompts_of_one_prefix(engine, " The capital of France is", num_tokens=200)
        params = replace(GREEDY, max_tokens=8, ignore_eos=True)
        salted = [
            await drain(engine.generate(request_for(prompt, params, salt)))
            for salt in ("", "", uuid4().hex)
        ]
        assert salted[1].finished.num_cached_prompt_tokens > 0
        assert salted[2].finished.num_cached_prompt_tokens == 0
        assert len({result.text for result in salted}) == 1

    async def test_answer_is_cached_too(self, engine: Engine) -> None:
        """The next turn of a conversation finds its whole history, the answer included."""
        (prompt,) = await prompts_of_one_prefix(engine, " and so", num_tokens=300)
        params = replace(GREEDY, max_tokens=40, ignore_eos=True)
        first = await drain(engine.generate(request_for(prompt, params)))
        said: Sequence[int] = [*chain.from_iterable(delta.token_ids for delta in first.deltas)]
        if len(said) < 40:  # llama.cpp, where a character took several tokens
            said = (await engine.render(TextPrompt(first.text))).token_ids
        turn = await engine.render(TextPrompt(" What else?"))
        history = RenderedPrompt(TokenIds.of((*prompt.token_ids, *said, *turn.token_ids)))
        second = await drain(engine.generate(request_for(history, replace(params, max_tokens=2))))
        # Pages of up to 32 tokens, and the last token of an answer has not been read.
        least = len(prompt.token_ids) + 40 - 1 - 32
        assert second.finished.num_cached_prompt_tokens >= least

    async def test_second_prompt_is_cached(self, engine: Engine) -> None:
        """A prompt that was just read is not read again, and that is told."""
        prompt = TextPrompt("A prompt of its own for the cache. " * 12)
        params = replace(GREEDY, max_tokens=2)
        first = await answer(engine, prompt, params)
        second = await answer(engine, prompt, params)
        assert second.finished.num_cached_prompt_tokens > first.finished.num_cached_prompt_tokens
        assert second.text == first.text

    async def test_cache_salts_are_apart(self, engine: Engine) -> None:
        """What was cached under one salt is not used under another."""
        # A beginning of its own: nothing else may have been cached for it.
        prompt = TextPrompt(f"{uuid4().hex} is nobody else's business. " * 4)
        params = replace(GREEDY, max_tokens=2)
        mine, theirs = uuid4().hex, uuid4().hex
        await answer(engine, prompt, params, mine)
        other = await answer(engine, prompt, params, theirs)
        plain = await answer(engine, prompt, params)
        assert other.finished.num_cached_prompt_tokens == 0
        # Prompts of other tests have no salt either.
        assert plain.finished.num_cached_prompt_tokens < CHANCE_TOKENS

    async def test_cached_count_agrees(self, engine: Engine) -> None:
        """Acceptance, where it counts cached tokens, and the end tell the same number."""
        result = await answer(engine, PARIS)
        accepted = next(event for event in result.events if isinstance(event, Started))
        told = accepted.num_cached_prompt_tokens
        assert told is None or told == result.finished.num_cached_prompt_tokens
