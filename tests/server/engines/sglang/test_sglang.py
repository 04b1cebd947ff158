"""SGLang keeps the contract of every engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import msgspec
import pytest
from tokenwire.server.contract.engine import Engine, EngineLauncher
from tokenwire.server.contract.errors import GenerationFailed
from tokenwire.server.contract.events import EngineEvent, FinishReason, TextDelta
from tokenwire.server.contract.prompts import (
    ChatMessage,
    ChatPrompt,
    RenderedPrompt,
    Role,
    TextPrompt,
)
from tokenwire.server.contract.token_ids import TokenIds
from tokenwire.server.engines.sglang.front.engine import SglangEngine
from tokenwire.server.engines.sglang.front.launcher import SglangLauncher

from ..contract import (
    GREEDY,
    HANG_S,
    PARIS,
    PARIS_ANSWER,
    STORY,
    EngineContract,
    answer,
    assert_idle,
    drain,
    id_of,
    request_for,
)
from .fixtures import Death


@pytest.fixture(scope="module")
def launcher(sglang_engine_launcher: SglangLauncher) -> EngineLauncher:
    return sglang_engine_launcher


@pytest.fixture(scope="module")
def engine(sglang_engine: SglangEngine) -> Engine:
    return sglang_engine


class TestSglang(EngineContract):
    """SGLang on the small model, on a CPU."""

    lacks = {"seeds": "SGLang honours a seed only with deterministic inference, which needs a GPU"}

    @pytest.fixture
    def closed(self, sglang_without_scheduler: Death) -> Engine:
        """One that died before it was closed: it saves a start, and is the harder case."""
        return sglang_without_scheduler.engine

    @pytest.fixture
    def relaunched(self, sglang_without_scheduler: Death, sglang_engine: SglangEngine) -> Engine:
        """The engine of the whole run, beside which the launcher's other one was killed.

        It saves a start. That one is started behind a killed one: `tests/system`.
        """
        assert sglang_without_scheduler.why_lost
        return sglang_engine


async def test_question_without_system_line(sglang_engine: SglangEngine) -> None:
    """The model's own template answers a bare question."""
    prompt = ChatPrompt((ChatMessage(Role.USER, "What is the capital of France?"),))
    assert "Paris" in (await answer(sglang_engine, prompt)).text


async def test_trace_of_a_request_is_taken(sglang_engine: SglangEngine) -> None:
    """SGLang takes the trace that a request belongs to, also while it does not trace itself."""
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    request = request_for(await sglang_engine.render(PARIS))
    traced = replace(request, trace_headers=(("traceparent", traceparent), ("tracestate", "a=b")))
    assert (await drain(sglang_engine.generate(traced))).text == PARIS_ANSWER


async def test_template_argument_unknown_to_template(sglang_engine: SglangEngine) -> None:
    """An argument that the template does not read changes nothing."""
    argued = msgspec.structs.replace(PARIS, template_arguments={"enable_thinking": False})
    assert await sglang_engine.render(argued) == await sglang_engine.render(PARIS)


@pytest.mark.parametrize("token_ids", [(), (1, 49_152), (-1,)], ids=["empty", "large", "negative"])
async def test_deadly_prompt_stays_out(
    sglang_engine: SglangEngine, token_ids: tuple[int, ...]
) -> None:
    """A prompt that would kill the scheduler is refused even behind rendering."""
    with pytest.raises(GenerationFailed):
        await drain(sglang_engine.generate(request_for(RenderedPrompt(TokenIds.of(token_ids)))))
    assert (await answer(sglang_engine, PARIS)).text == PARIS_ANSWER


@pytest.mark.parametrize("token_id", [49_152, 49_153, 2**31, -1])
async def test_deadly_stop_token_stays_out(sglang_engine: SglangEngine, token_id: int) -> None:
    """A stop token outside the vocabulary, together with min_tokens, does no harm."""
    params = replace(GREEDY, stop_token_ids=(token_id,), min_tokens=3)
    assert (await answer(sglang_engine, PARIS, params)).text == PARIS_ANSWER


async def test_refused_by_engine(sglang_engine: SglangEngine) -> None:
    """What SGLang refuses by itself fails that request alone; its own words are for the log."""
    params = replace(GREEDY, repetition_penalty=5.0)
    with pytest.raises(GenerationFailed) as caught:
        await answer(sglang_engine, PARIS, params)
    assert (
        caught.value.message == "the engine refused the request because of its repetition_penalty"
    )
    assert "5.0" in caught.value.detail
    await assert_idle(sglang_engine)


async def test_stop_token_while_end_is_ignored(sglang_engine: SglangEngine) -> None:
    """Ignoring the model's end does not ignore the request's own stop tokens."""
    paris = await id_of(sglang_engine, " Paris")
    params = replace(GREEDY, stop_token_ids=(paris,), ignore_eos=True)
    end = (await answer(sglang_engine, PARIS, params)).end
    assert end.reason is FinishReason.STOP
    assert end.matched == paris
    params = replace(GREEDY, stop_token_ids=(49_000,), ignore_eos=True)
    assert (await answer(sglang_engine, PARIS, params)).end.reason is FinishReason.LENGTH


async def test_stop_spelt_unusually(sglang_engine: SglangEngine) -> None:
    """A stop string is found also where the model spells it in more tokens than a tokenizer."""
    apple = await sglang_engine.render(TextPrompt("a p p l e a p p l e a p p l e"))
    params = replace(GREEDY, stop=("p l e a",), max_tokens=40)
    result = await drain(sglang_engine.generate(request_for(apple, params)))
    assert "p l e a" not in result.text


async def test_top_p_zero_is_greedy(sglang_engine: SglangEngine) -> None:
    """top_p 0, which SGLang itself refuses, leaves the likeliest token."""
    params = replace(GREEDY, temperature=1.5, top_p=0.0)
    assert (await answer(sglang_engine, PARIS, params)).text == PARIS_ANSWER


async def test_stopped_request_is_released(sglang_engine: SglangEngine) -> None:
    """A stop string frees the scheduler too, long before max_tokens."""
    params = replace(GREEDY, max_tokens=900, ignore_eos=True, stop=("capital",))
    await answer(sglang_engine, PARIS, params)
    await assert_idle(sglang_engine)


async def test_unread_stream_is_kept(sglang_engine: SglangEngine) -> None:
    """Of deltas that nobody takes none is lost; the log of the request merges them, not this."""
    rendered = await sglang_engine.render(STORY)
    params = replace(GREEDY, max_tokens=30, ignore_eos=True)
    async with aclosing(sglang_engine.generate(request_for(rendered, params))) as events:
        await anext(events)
        async with asyncio.timeout(HANG_S):
            while (await sglang_engine.status()).num_running:
                pass
            # What was generated later arrives later: now all of the first is here.
            await answer(sglang_engine, PARIS, replace(GREEDY, max_tokens=1))
        rest = await drain(events)
    read = await answer(sglang_engine, STORY, params)
    ids = [token_id for delta in rest.deltas for token_id in delta.token_ids]
    assert len(ids) == sum(delta.num_tokens for delta in rest.deltas) == 30
    assert ids == [token_id for delta in read.deltas for token_id in delta.token_ids]
    assert (rest.text, rest.end) == (read.text, read.end)


async def test_many_aborts_leave_nothing(sglang_engine: SglangEngine) -> None:
    """Sixteen streams that are dropped at once are all let go."""
    rendered = await sglang_engine.render(STORY)
    params = replace(GREEDY, max_tokens=900, ignore_eos=True)
    streams = [sglang_engine.generate(request_for(rendered, params)) for _ in range(16)]
    async with asyncio.timeout(HANG_S):
        await asyncio.gather(*(anext(stream) for stream in streams))
        await asyncio.gather(*(stream.aclose() for stream in streams))
    await assert_idle(sglang_engine)


async def test_abort_right_behind_request(sglang_engine: SglangEngine) -> None:
    """An abort that reaches the host together with its request, or at any time after, is kept."""
    rendered = await sglang_engine.render(STORY)
    params = replace(GREEDY, max_tokens=900, ignore_eos=True)
    async with asyncio.timeout(HANG_S):
        for num_turns in range(12):
            opening = asyncio.create_task(
                drain(sglang_engine.generate(request_for(rendered, params))), name="opening"
            )
            for _ in range(num_turns):
                await asyncio.sleep(0)
            opening.cancel()
            await asyncio.wait({opening})
    await assert_idle(sglang_engine)


async def test_abort_by_engine_tells_no_text(sglang_engine: SglangEngine) -> None:
    """An abort that SGLang makes by itself is a failure, and what comes with it is no text.

    It takes ids that no front gives: the scheduler matches them by their beginnings.
    """
    rendered = await sglang_engine.render(STORY)
    params = replace(GREEDY, max_tokens=900, ignore_eos=True)
    first = request_for(rendered, params)
    second = replace(first, request_id=f"{first.request_id}0")
    texts: list[str] = []

    async def read(stream: AsyncIterator[EngineEvent]) -> None:
        async for event in stream:
            if isinstance(event, TextDelta):
                texts.append(event.text)

    async with asyncio.timeout(HANG_S), aclosing(sglang_engine.generate(second)) as struck:
        async with aclosing(sglang_engine.generate(first)) as aborted:
            await anext(struck)
            await anext(aborted)
        with pytest.raises(GenerationFailed, match="the engine dropped the request"):
            await read(struck)
    text = "".join(texts)
    await assert_idle(sglang_engine)
    num_tokens = len((await sglang_engine.render(TextPrompt(text or " "))).token_ids)
    alone = await answer(sglang_engine, STORY, replace(params, max_tokens=num_tokens + 2))
    assert alone.text.startswith(text)
