"""How every engine lets go, and runs many requests at once."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from uuid import uuid4

from tokenwire.server.contract.engine import Engine
from tokenwire.server.contract.events import Prefill, Started, TextDelta
from tokenwire.server.contract.prompts import RenderedPrompt, TextPrompt
from tokenwire.server.contract.token_ids import TokenIds

from .generation import (
    GREEDY,
    HANG_S,
    MAX_RUNNING,
    PARIS,
    PARIS_ANSWER,
    STORY,
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

    async def test_cancel_while_queued(self, engine: Engine) -> None:
        """A request that waits behind others leaves no trace when it is dropped."""
        params = replace(GREEDY, max_tokens=1_000, ignore_eos=True)
        async with asyncio.timeout(HANG_S), AsyncExitStack() as running:
            for _ in range(MAX_RUNNING):
                rendered = await engine.render(TextPrompt(uuid4().hex))
                stream = engine.generate(request_for(rendered, params))
                await running.enter_async_context(aclosing(stream))
                await anext(stream)
            waiting = asyncio.create_task(answer(engine, PARIS), name="waiting")
            # Polled: the engine's own count is the only sign of it.
            while not (status := await engine.status()).num_queued:  # noqa: ASYNC110 - above
                await asyncio.sleep(0)
            assert (status.num_running, status.num_queued) == (MAX_RUNNING, 1)
            waiting.cancel()
            await asyncio.wait({waiting})
            assert waiting.cancelled()
            while (await engine.status()).num_queued:  # noqa: ASYNC110 - above
                await asyncio.sleep(0)
        await assert_idle(engine)
        assert (await answer(engine, PARIS)).text == PARIS_ANSWER

    async def test_close_while_prefilling(self, engine: Engine) -> None:
        """Closing while the prompt is read frees the engine."""
        token_ids = (await long_prompt(engine, 900)).token_ids
        own = (await engine.render(TextPrompt(uuid4().hex))).token_ids
        request = request_for(
            RenderedPrompt(TokenIds.of((*own, *token_ids))),
            replace(GREEDY, max_tokens=50, ignore_eos=True),
        )
        async with asyncio.timeout(HANG_S), aclosing(engine.generate(request)) as events:
            first = await anext(events)
        assert isinstance(first, Started | Prefill)
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
                if isinstance(event, TextDelta):
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
                    if isinstance(event, TextDelta):
                        has_text.set()

        async with asyncio.timeout(HANG_S):
            reading = asyncio.create_task(read(), name="reader")
            await has_text.wait()
            reading.cancel()
            await asyncio.wait({reading})
        await assert_idle(engine)

    async def test_finished_stream_is_released(self, engine: Engine) -> None:
        """At the end of a stream the engine is free at once."""
        await answer(engine, PARIS)
        await assert_idle(engine)
