"""How every engine runs many requests at once."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

from tokenwire.server.contract.engine import Engine
from tokenwire.server.contract.events import TextDelta
from tokenwire.server.contract.prompts import TextPrompt

from .generation import (
    GREEDY,
    HANG_S,
    MAX_RUNNING,
    PARIS,
    PARIS_ANSWER,
    STORY,
    WORDS,
    Answer,
    Contract,
    answer,
    assert_idle,
    drain,
    request_for,
)


class ConcurrencyContract(Contract):
    """How every engine runs many requests at once."""

    async def test_sixteen_at_once(self, engine: Engine) -> None:
        """Sixteen streams side by side are each what they are alone."""
        params = replace(GREEDY, max_tokens=6)
        prompts = [TextPrompt(f"I like the {word}. " * 4 + "I like the") for word in WORDS]
        alone = [(await answer(engine, prompt, params)).text for prompt in prompts]
        together = await asyncio.gather(*(answer(engine, prompt, params) for prompt in prompts))
        assert [result.text for result in together] == alone
        assert all(text.startswith(f" {word}") for text, word in zip(alone, WORDS, strict=True))
        await assert_idle(engine)

    async def test_close_leaves_others_alone(self, engine: Engine) -> None:
        """Closing one stream changes nothing for its neighbour."""
        neighbour = asyncio.create_task(answer(engine, PARIS), name="neighbour")
        rendered = await engine.render(STORY)
        params = replace(GREEDY, max_tokens=800, ignore_eos=True)
        async with aclosing(engine.generate(request_for(rendered, params))) as events:
            async with asyncio.timeout(HANG_S):
                await anext(events)
        assert (await neighbour).text == PARIS_ANSWER

    async def test_running_is_counted(self, engine: Engine) -> None:
        """The engine's own count shows a running request."""
        rendered = await engine.render(STORY)
        params = replace(GREEDY, max_tokens=800, ignore_eos=True)
        async with asyncio.timeout(HANG_S):
            async with aclosing(engine.generate(request_for(rendered, params))) as events:
                async for event in events:
                    if isinstance(event, TextDelta):
                        break
                assert (await engine.status()).num_running == 1

    async def test_slow_reader_loses_nothing(self, engine: Engine) -> None:
        """A reader that pauses gets the whole text all the same."""
        params = replace(GREEDY, max_tokens=12, ignore_eos=True)
        expected = (await answer(engine, STORY, params)).text
        rendered = await engine.render(STORY)
        async with aclosing(engine.generate(request_for(rendered, params))) as events:
            first = await anext(events)
            assert (await answer(engine, PARIS)).text == PARIS_ANSWER
            rest = await drain(events)
        assert Answer((first, *rest.events)).text == expected

    async def test_usage_is_of_own_request(self, engine: Engine) -> None:
        """Each of many requests at once gets its own limit, and its own counts."""
        limits = range(1, MAX_RUNNING + 1)
        rendered = [await engine.render(TextPrompt(f"{word} " * 3)) for word in WORDS]
        results = await asyncio.gather(
            *(
                drain(
                    engine.generate(
                        request_for(prompt, replace(GREEDY, max_tokens=limit, ignore_eos=True))
                    )
                )
                for prompt, limit in zip(rendered, limits, strict=True)
            )
        )
        assert [result.finished.num_completion_tokens for result in results] == list(limits)
        assert [sum(delta.num_tokens for delta in result.deltas) for result in results] == list(
            limits
        )

    async def test_leavers_leave_others_alone(self, engine: Engine) -> None:
        """Of sixteen at once, eight leave in the middle; the others get what they get alone."""
        params = replace(GREEDY, max_tokens=16, ignore_eos=True)
        prompts = [TextPrompt(f"I like the {word}. " * 4 + "I like the") for word in WORDS]
        alone = [await answer(engine, prompt, params) for prompt in prompts[::2]]
        endless = replace(GREEDY, max_tokens=900, ignore_eos=True)

        async def leave(prompt: TextPrompt) -> None:
            rendered = await engine.render(prompt)
            async with aclosing(engine.generate(request_for(rendered, endless))) as events:
                async for event in events:
                    if isinstance(event, TextDelta):
                        return

        async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
            for prompt in prompts[1::2]:
                group.create_task(leave(prompt), name="leaver")
            staying = [group.create_task(answer(engine, prompt, params)) for prompt in prompts[::2]]
        assert [task.result().text for task in staying] == [result.text for result in alone]
        await assert_idle(engine)

    async def test_more_than_slots(self, engine: Engine) -> None:
        """More requests than run at once are all answered, one after another."""
        results = await asyncio.gather(
            *(answer(engine, PARIS) for _ in range(MAX_RUNNING + MAX_RUNNING // 2))
        )
        assert {result.text for result in results} == {PARIS_ANSWER}
        await assert_idle(engine)
