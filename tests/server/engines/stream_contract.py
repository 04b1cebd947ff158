"""What every engine streams: order, counts and characters."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tokenwire.server.contract.engine import Engine
from tokenwire.server.contract.events import (
    ChoiceFinished,
    Finished,
    FinishReason,
    Prefill,
    Started,
    TextDelta,
)
from tokenwire.server.contract.prompts import TextPrompt
from tokenwire.server.contract.token_ids import TokenIds

from .generation import (
    GREEDY,
    PARIS,
    PARIS_ANSWER,
    STORY,
    Contract,
    answer,
    assert_in_order,
)


class StreamContract(Contract):
    """What every engine streams: order, counts and characters."""

    async def test_whole_answer(self, engine: Engine) -> None:
        """A question is answered to the model's own end."""
        result = await answer(engine, PARIS)
        assert result.text == PARIS_ANSWER
        assert result.end.reason is FinishReason.EOS
        assert result.end.matched is None

    async def test_finished_once_and_last(self, engine: Engine) -> None:
        """There is exactly one end, and nothing behind it; the only choice ends before it."""
        events = (await answer(engine, PARIS)).events
        kinds = [type(event) for event in events]
        assert kinds.count(Finished) == 1
        assert kinds[-2:] == [ChoiceFinished, Finished]
        assert_in_order(events)

    async def test_accepted_once_before_deltas(self, engine: Engine) -> None:
        """There is exactly one acceptance, before any text."""
        kinds = [type(event) for event in (await answer(engine, PARIS)).events]
        assert kinds.count(Started) == 1
        assert kinds.index(Started) < kinds.index(TextDelta)

    async def test_prefill_never_goes_back(self, engine: Engine) -> None:
        """Progress grows, stays within the prompt and ends before the text begins."""
        rendered = await engine.render(PARIS)
        result = await answer(engine, PARIS)
        kinds = [type(event) for event in result.events]
        steps = [event for event in result.events if isinstance(event, Prefill)]
        processed = [step.num_processed_tokens for step in steps]
        assert processed == sorted(processed)
        assert all(step.num_prompt_tokens == len(rendered.token_ids) for step in steps)
        assert all(number <= len(rendered.token_ids) for number in processed)
        assert Prefill not in kinds[kinds.index(TextDelta) :]

    async def test_streams_piece_by_piece(self, engine: Engine) -> None:
        """Text comes in several deltas, not at the end."""
        assert len((await answer(engine, PARIS)).deltas) > 2

    @pytest.mark.parametrize("max_tokens", [1, 2, 5])
    async def test_max_tokens_exact(self, engine: Engine, max_tokens: int) -> None:
        """A generation stops at its limit, not before and not behind."""
        params = replace(GREEDY, max_tokens=max_tokens, ignore_eos=True)
        result = await answer(engine, STORY, params)
        assert result.end.reason is FinishReason.LENGTH
        assert result.finished.num_completion_tokens == max_tokens

    async def test_shorter_is_beginning_of_longer(self, engine: Engine) -> None:
        """The limit only cuts: it changes nothing before it."""
        long = await answer(engine, STORY, replace(GREEDY, max_tokens=8))
        short = await answer(engine, STORY, replace(GREEDY, max_tokens=4))
        assert long.text.startswith(short.text)
        assert short.text

    async def test_end_token_counts(self, engine: Engine) -> None:
        """The count holds every token of the text, and the end token."""
        result = await answer(engine, PARIS)
        num_tokens = len((await engine.render(TextPrompt(PARIS_ANSWER))).token_ids)
        assert result.finished.num_completion_tokens == num_tokens + 1

    async def test_deltas_count_tokens(self, engine: Engine) -> None:
        """The tokens of the deltas sum up to the tokens of the answer."""
        result = await answer(engine, STORY, replace(GREEDY, max_tokens=8, ignore_eos=True))
        assert sum(delta.num_tokens for delta in result.deltas) == 8

    async def test_delta_token_ids(self, engine: Engine) -> None:
        """The ids of the deltas are the tokens of the text."""
        self.need("token_ids")
        result = await answer(engine, STORY, replace(GREEDY, max_tokens=8, ignore_eos=True))
        ids = TokenIds.of([token_id for delta in result.deltas for token_id in delta.token_ids])
        assert len(ids) == 8
        assert (await engine.render(TextPrompt(result.text))).token_ids == ids

    @pytest.mark.parametrize("text", ["Once upon a time", "🌍🦊🌍🦊🌍🦊🌍🦊🌍"])
    async def test_token_ids_say_the_text(self, engine: Engine, text: str) -> None:
        """The ids say the text, on every engine: also where they are for the next engine alone."""
        params = replace(GREEDY, max_tokens=8, ignore_eos=True)
        result = await answer(engine, TextPrompt(text), params)
        ids = TokenIds.of([token_id for delta in result.deltas for token_id in delta.token_ids])
        assert (await engine.detokenize(ids)).decode(errors="ignore") == result.text
        assert all(delta.token_ids for delta in result.deltas if delta.text and delta.num_tokens)

    @pytest.mark.parametrize("text", ["🌍🦊🌍🦊🌍🦊🌍🦊🌍", "漢字漢字漢字漢字漢"])
    async def test_characters_stay_whole(self, engine: Engine, text: str) -> None:
        """A character of several tokens is told once it is whole, wherever the limit falls."""
        results = await asyncio.gather(
            *(
                answer(engine, TextPrompt(text), replace(GREEDY, max_tokens=max_tokens))
                for max_tokens in range(1, 10)
            )
        )
        for result in results:
            assert all("\ufffd" not in delta.text for delta in result.deltas)
        assert any(character in results[-1].text for character in text)
