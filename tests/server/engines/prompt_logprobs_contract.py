"""What engines that can tell of the likelihood of a prompt's tokens."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from tokenwire.server.contract.earlier_output import EarlierOutput
from tokenwire.server.contract.engine import Engine
from tokenwire.server.contract.events import (
    MAX_PROMPT_PIECE,
    Delta,
    FinishReason,
    PromptLogprobs,
    PromptTokenLogprob,
)
from tokenwire.server.contract.prompts import RenderedPrompt, TextPrompt
from tokenwire.server.contract.token_ids import TokenIds

from .generation import (
    GREEDY,
    PARIS,
    PARIS_ANSWER,
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
from .logprobs_contract import logprobs_of

SCORED = replace(GREEDY, max_tokens=0, prompt_logprobs=3)


class PromptLogprobsContract(Contract):
    """What engines that can tell of the likelihood of a prompt's tokens."""

    async def test_prompt_that_nobody_asked_about(self, engine: Engine) -> None:
        """Without being asked for, nothing is told of the prompt."""
        assert not prompt_of(await answer(engine, PARIS, replace(GREEDY, logprobs=1)))

    @pytest.mark.parametrize("num_top", [0, 1, 20])
    async def test_each_token_of_the_prompt(self, engine: Engine, num_top: int) -> None:
        """Each has its id, its text and its value, which is among the likeliest if it is one."""
        self.need("prompt_logprobs")
        rendered = await engine.render(STORY)
        params = replace(GREEDY, max_tokens=2, prompt_logprobs=num_top)
        result = await drain(engine.generate(request_for(rendered, params)))
        assert_in_order(result.events)
        told = prompt_of(result)
        assert [each.token_id for each in told] == rendered.token_ids.tolist()
        assert b"".join(each.text for each in told).decode() == STORY.text
        first, *others = told
        assert (first.logprob, first.top) == (None, ())
        for each in others:
            assert each.logprob is not None
            assert each.logprob < 0
            values = [top.logprob for top in each.top]
            assert len(values) == num_top
            assert values == sorted(values, reverse=True)
            assert sum(map(math.exp, values)) <= 1 + 1e-4
            for top in each.top:
                assert top.token_id != each.token_id or top.logprob == each.logprob
        assert logprobs_of(result) == []

    async def test_template_is_told_with_its_marks(self, engine: Engine) -> None:
        """A conversation is told as the model reads it: its special tokens have their names."""
        self.need("prompt_logprobs")
        result = await answer(engine, PARIS, replace(GREEDY, prompt_logprobs=0))
        text = b"".join(each.text for each in prompt_of(result)).decode()
        assert text.startswith("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n")
        assert result.text == PARIS_ANSWER

    async def test_prompt_that_is_cached(self, engine: Engine) -> None:
        """What the prefix cache holds is told like the rest of it, with the same values."""
        self.need("prompt_logprobs")
        text = TextPrompt("One, two, three, four, five, six, seven, eight, nine, ten, eleven,")
        first = prompt_of(await answer(engine, text, SCORED))
        await answer(engine, text, replace(GREEDY, max_tokens=4))
        again = prompt_of(await answer(engine, text, SCORED))
        assert [each.token_id for each in again] == [each.token_id for each in first]
        for one, other in zip(first[1:], again[1:], strict=True):
            assert one.logprob == pytest.approx(other.logprob, abs=0.05)

    async def test_same_as_those_of_an_answer(self, engine: Engine) -> None:
        """The tokens of an answer are as likely where they stand in a prompt."""
        self.need("prompt_logprobs")
        prompt = await engine.render(STORY)
        params = replace(GREEDY, max_tokens=6, logprobs=2, ignore_eos=True)
        said = logprobs_of(await drain(engine.generate(request_for(prompt, params))))
        longer = RenderedPrompt(TokenIds.of([*prompt.token_ids, *(each.token_id for each in said)]))
        told = prompt_of(await drain(engine.generate(request_for(longer, SCORED))))[-6:]
        assert [each.token_id for each in told] == [each.token_id for each in said]
        for one, other in zip(told, said, strict=True):
            assert one.logprob == pytest.approx(other.logprob, abs=0.05)
            assert len(one.top) == 3

    async def test_nothing_but_the_prompt(self, engine: Engine) -> None:
        """With max_tokens 0 nothing is generated: each choice ends by LENGTH, with no token."""
        self.need("prompt_logprobs")
        result = await answer(engine, STORY, replace(SCORED, n=3))
        assert_in_order(result.events)
        assert len(prompt_of(result)) == len((await engine.render(STORY)).token_ids)
        ends = [event for event in result.events if isinstance(event, Delta)][-3:]
        assert {getattr(end, "reason", None) for end in ends} == {FinishReason.LENGTH}
        assert result.text == ""
        assert result.finished.num_completion_tokens == 0
        await assert_idle(engine)

    async def test_beside_those_of_the_answer(self, engine: Engine) -> None:
        """Each has as many of the likeliest tokens as asked for; several choices tell it once."""
        self.need("prompt_logprobs")
        for of_prompt, of_answer in ((3, 1), (0, 2)):
            params = replace(
                RANDOM, max_tokens=4, n=2, prompt_logprobs=of_prompt, logprobs=of_answer
            )
            result = await answer(engine, STORY, params)
            told = prompt_of(result)
            assert len(told) == len((await engine.render(STORY)).token_ids)
            assert {len(each.top) for each in told[1:]} == {of_prompt}
            assert {len(each.top) for each in logprobs_of(result)} == {of_answer}
            assert len(logprobs_of(result)) == 8

    async def test_long_prompt_comes_in_pieces(self, engine: Engine) -> None:
        """No piece is larger than the contract says, and together they are the whole prompt."""
        self.need("prompt_logprobs")
        prompt = await long_prompt(engine, 300)
        result = await drain(engine.generate(request_for(prompt, SCORED)))
        pieces = [event for event in result.events if isinstance(event, PromptLogprobs)]
        assert len(pieces) == math.ceil(300 / (MAX_PROMPT_PIECE // 4))
        sizes = [sum(1 + len(token.top) for token in piece.tokens) for piece in pieces]
        assert max(sizes) <= MAX_PROMPT_PIECE
        assert [each.token_id for each in prompt_of(result)] == prompt.token_ids.tolist()

    async def test_behind_earlier_output(self, engine: Engine) -> None:
        """An engine that goes on with an answer tells of the prompt alone, as if it began it."""
        self.need("prompt_logprobs")
        prompt = await engine.render(STORY)
        params = replace(GREEDY, max_tokens=8, ignore_eos=True, prompt_logprobs=1)
        whole = await drain(engine.generate(request_for(prompt, params)))
        ids = [token_id for delta in whole.deltas for token_id in delta.token_ids]
        earlier = (EarlierOutput(TokenIds.of(ids[:3])),)
        again = await drain(engine.generate(replace(request_for(prompt, params), earlier=earlier)))
        assert_in_order(again.events)
        assert again.text == whole.text
        assert [each.token_id for each in prompt_of(again)] == prompt.token_ids.tolist()
        for one, other in zip(prompt_of(whole)[1:], prompt_of(again)[1:], strict=True):
            assert one.logprob == pytest.approx(other.logprob, abs=0.05)


def prompt_of(result: Answer) -> list[PromptTokenLogprob]:
    """All that is told of the prompt, before anything else of the answer."""
    told = [event for event in result.events if isinstance(event, PromptLogprobs | Delta)]
    pieces = [event for event in told if isinstance(event, PromptLogprobs)]
    assert told[: len(pieces)] == pieces
    return [token for piece in pieces for token in piece.tokens]
