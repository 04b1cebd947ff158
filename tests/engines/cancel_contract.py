"""How every engine lets go, and runs many requests at once."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from uuid import uuid4

import pytest
import pytest_asyncio
from tokenwire.server.engine import (
    Accepted,
    Delta,
    Engine,
    EngineLauncher,
    LoadProgress,
    Prefill,
    RenderedPrompt,
    TextPrompt,
)
from tokenwire.server.errors import EngineLost

from .generation import (
    GREEDY,
    HANG_S,
    PARIS,
    PARIS_ANSWER,
    STORY,
    WORDS,
    Answer,
    Contract,
    answer,
    assert_idle,
    drain,
    long_prompt,
    request_for,
)


class CancelContract(Contract):
    """How every engine lets go, and runs many requests at once."""

    async def test_close_before_first_event(self, engine: Engine) -> None:
        """A stream that is never read costs nothing."""
        rendered = await engine.render(STORY)
        await engine.generate(request_for(rendered)).aclose()
        await assert_idle(engine)

    async def test_cancel_while_opening(self, engine: Engine) -> None:
        """A caller that leaves before the first event frees the engine."""
        rendered = await engine.render(STORY)
        params = replace(GREEDY, max_tokens=400, ignore_eos=True)
        for num_turns in range(4):
            first = asyncio.create_task(
                drain(engine.generate(request_for(rendered, params))), name="opening"
            )
            for _ in range(num_turns):
                await asyncio.sleep(0)  # let it come a little further each time
            first.cancel()
            await asyncio.wait({first}, timeout=HANG_S)
            assert first.cancelled()
            await assert_idle(engine)

    async def test_close_while_prefilling(self, engine: Engine) -> None:
        """Closing while the prompt is read frees the engine."""
        token_ids = (await long_prompt(engine, 900)).token_ids
        own = (await engine.render(TextPrompt(uuid4().hex))).token_ids
        request = request_for(
            RenderedPrompt((*own, *token_ids)), replace(GREEDY, max_tokens=50, ignore_eos=True)
        )
        async with asyncio.timeout(HANG_S), aclosing(engine.generate(request)) as events:
            first = await anext(events)
        assert isinstance(first, Accepted | Prefill)
        await assert_idle(engine)

    async def test_close_while_decoding(self, engine: Engine) -> None:
        """Closing in the middle of the text frees the engine."""
        rendered = await engine.render(STORY)
        params = replace(GREEDY, max_tokens=800, ignore_eos=True)
        async with (
            asyncio.timeout(HANG_S),
            aclosing(engine.generate(request_for(rendered, params))) as events,
        ):
            async for event in events:
                if isinstance(event, Delta):
                    break
        await assert_idle(engine)

    async def test_cancelled_reader_frees_engine(self, engine: Engine) -> None:
        """A cancelled task that reads a stream lets go of the engine before it ends."""
        rendered = await engine.render(STORY)
        params = replace(GREEDY, max_tokens=800, ignore_eos=True)
        has_text = asyncio.Event()

        async def read() -> None:
            async with aclosing(engine.generate(request_for(rendered, params))) as events:
                async for event in events:
                    if isinstance(event, Delta):
                        has_text.set()

        async with asyncio.timeout(HANG_S):
            reading = asyncio.create_task(read(), name="reader")
            await has_text.wait()
            reading.cancel()
            await asyncio.wait({reading})
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

    async def test_finished_stream_is_released(self, engine: Engine) -> None:
        """At the end of a stream the engine is free at once."""
        await answer(engine, PARIS)
        await assert_idle(engine)

    async def test_sixteen_at_once(self, engine: Engine) -> None:
        """Sixteen streams side by side are each what they are alone."""
        params = replace(GREEDY, max_tokens=6)
        prompts = [TextPrompt(f"I like the {word}. " * 4 + "I like the") for word in WORDS]
        alone = [(await answer(engine, prompt, params)).text for prompt in prompts]
        together = await asyncio.gather(*(answer(engine, prompt, params) for prompt in prompts))
        assert [result.text for result in together] == alone
        assert all(text.startswith(f" {word}") for text, word in zip(alone, WORDS, strict=True))
        await assert_idle(engine)

    async def test_running_is_counted(self, engine: Engine) -> None:
        """The engine's own count shows a running request."""
        rendered = await engine.render(STORY)
        params = replace(GREEDY, max_tokens=800, ignore_eos=True)
        async with asyncio.timeout(HANG_S):
            async with aclosing(engine.generate(request_for(rendered, params))) as events:
                async for event in events:
                    if isinstance(event, Delta):
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

    @pytest_asyncio.fixture(loop_scope="session")
    async def closed(self, launcher: EngineLauncher) -> Engine:
        """An engine of its own, launched and closed; one that is dear to start brings another."""
        steps = list[LoadProgress]()
        engine = await launcher.launch(steps.append)
        await engine.close()
        assert steps
        return engine

    async def test_closed_engine_is_lost(self, closed: Engine) -> None:
        """A closed engine refuses every call, is told as lost, and may be closed again."""
        async with asyncio.timeout(HANG_S):
            with pytest.raises(EngineLost):
                await closed.render(STORY)
            with pytest.raises(EngineLost):
                await anext(closed.generate(request_for(RenderedPrompt((1,)))))
            with pytest.raises(EngineLost):
                await closed.status()
            assert await closed.wait_lost()
            await closed.close()
