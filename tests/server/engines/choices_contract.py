"""How every engine makes several choices of one prompt."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import aclosing
from dataclasses import replace

from tokenwire.server.contract.engine import Engine
from tokenwire.server.contract.events import ChoiceFinished, FinishReason, TextDelta

from .generation import (
    GREEDY,
    HANG_S,
    MAX_RUNNING,
    PARIS,
    RANDOM,
    STORY,
    Answer,
    Contract,
    answer,
    assert_idle,
    assert_in_order,
    drain,
    long_prompt,
    request_for,
)


class ChoicesContract(Contract):
    """How every engine makes several choices of one prompt."""

    async def test_choices_are_numbered(self, engine: Engine) -> None:
        """Each choice has its own index and its own end, and the count is that of all."""
        result = await answer(engine, STORY, replace(RANDOM, n=3, max_tokens=6))
        assert_in_order(result.events)
        assert sorted(texts_of(result)) == [0, 1, 2]
        ends = ends_of(result)
        assert sorted(end.choice for end in ends) == [0, 1, 2]
        assert {end.reason for end in ends} == {FinishReason.LENGTH}
        assert result.finished.num_completion_tokens == 18

    async def test_choices_differ(self, engine: Engine) -> None:
        """At temperature 1 no two choices say the same."""
        result = await answer(engine, STORY, replace(RANDOM, n=3, max_tokens=12))
        assert len(set(texts_of(result).values())) == 3

    async def test_greedy_choices_are_equal(self, engine: Engine) -> None:
        """At temperature 0 all choices say what one says alone."""
        single = await answer(engine, PARIS)
        result = await answer(engine, PARIS, replace(GREEDY, n=3))
        assert texts_of(result) == dict.fromkeys(range(3), single.text)
        assert result.finished.num_completion_tokens == 3 * single.finished.num_completion_tokens

    async def test_choice_has_its_own_seed(self, engine: Engine) -> None:
        """A choice says what a request for one says with the seed plus its index."""
        self.need("seeds")
        # Few tokens: beside others rounding may differ, and sooner or later a choice with it.
        params = replace(RANDOM, seed=11, max_tokens=3)
        result = await answer(engine, STORY, replace(params, n=3))
        singles = [
            (await answer(engine, STORY, replace(params, seed=seed))).text for seed in (11, 12, 13)
        ]
        assert texts_of(result) == dict(enumerate(singles))

    async def test_choices_stop_one_by_one(self, engine: Engine) -> None:
        """A stop string ends each choice where it comes, and none that has it not."""
        params = replace(RANDOM, n=3, max_tokens=24, stop=(" the", " a"))
        result = await answer(engine, STORY, params)
        ends = {end.choice: end for end in ends_of(result)}
        for choice, text in texts_of(result).items():
            assert not any(stop in text for stop in params.stop)
            assert ends[choice].matched in (*params.stop, None)
        assert len(ends) == 3
        await assert_idle(engine)

    async def test_most_choices(self, engine: Engine) -> None:
        """The largest number of choices is answered."""
        result = await answer(engine, STORY, replace(RANDOM, n=MAX_RUNNING, max_tokens=2))
        assert sorted(end.choice for end in ends_of(result)) == list(range(MAX_RUNNING))

    async def test_prompt_counts_once(self, engine: Engine) -> None:
        """The cached tokens are those of the prompt, however many choices share it."""
        params = replace(GREEDY, max_tokens=1, n=3)
        prompt = await long_prompt(engine, 64)
        for _ in range(2):
            result = await drain(engine.generate(request_for(prompt, params)))
        assert 0 < result.finished.num_cached_prompt_tokens <= len(prompt.token_ids)

    async def test_close_drops_every_choice(self, engine: Engine) -> None:
        """One close ends all choices, whatever each has said."""
        rendered = await engine.render(STORY)
        params = replace(RANDOM, n=3, max_tokens=900)
        for num_heard in range(4):
            heard: set[int] = set()
            async with (
                asyncio.timeout(HANG_S),
                aclosing(engine.generate(request_for(rendered, params))) as events,
            ):
                while len(heard) < num_heard:
                    event = await anext(events)
                    if isinstance(event, TextDelta):
                        heard.add(event.choice)
            await assert_idle(engine)

    async def test_choices_cancelled_while_opening(self, engine: Engine) -> None:
        """A caller that leaves before the first event frees the engine of all choices."""
        rendered = await engine.render(STORY)
        params = replace(RANDOM, n=3, max_tokens=900)
        for num_turns in range(0, 12, 3):
            first = asyncio.create_task(
                drain(engine.generate(request_for(rendered, params))), name="opening"
            )
            for _ in range(num_turns):
                await asyncio.sleep(0)  # let it come a little further each time
            first.cancel()
            await asyncio.wait({first}, timeout=HANG_S)
            assert first.cancelled()
            await assert_idle(engine)


def texts_of(result: Answer) -> dict[int, str]:
    """What each choice says."""
    texts = defaultdict[int, str](str)
    for delta in result.deltas:
        texts[delta.choice] += delta.text
    return dict(texts)


def ends_of(result: Answer) -> list[ChoiceFinished]:
    """The ends of the choices, in the order in which they came."""
    return [event for event in result.events if isinstance(event, ChoiceFinished)]
