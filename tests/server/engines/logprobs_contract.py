"""What every engine tells of the likelihood of its tokens."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from tokenwire.server.contract.engine import Engine
from tokenwire.server.contract.events import TokenLogprob
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
    drain,
    request_for,
)


class LogprobsContract(Contract):
    """What every engine tells of the likelihood of its tokens."""

    async def test_nobody_asked(self, engine: Engine) -> None:
        """Without being asked for, there are none."""
        assert not logprobs_of(await answer(engine, PARIS))

    async def test_likeliest_tokens(self, engine: Engine) -> None:
        """20 tokens come in order, are probabilities, and a greedy token is the first of them."""
        logprobs = logprobs_of(await answer(engine, PARIS, replace(GREEDY, logprobs=20)))
        assert len(logprobs) == 7
        for each in logprobs:
            values = [top.logprob for top in each.top]
            assert len(values) == 20
            assert values == sorted(values, reverse=True)
            assert 0.1 < sum(map(math.exp, values)) <= 1 + 1e-4
            first = each.top[0]
            assert (first.token_id, first.logprob) == (each.token_id, each.logprob)
            assert first.text == each.text

    @pytest.mark.parametrize("num_top", [0, 1, 3])
    async def test_so_many_as_asked_for(self, engine: Engine, num_top: int) -> None:
        """0 tells the output token alone, and its value does not depend on how many are asked."""
        few = logprobs_of(await answer(engine, PARIS, replace(GREEDY, logprobs=num_top)))
        many = logprobs_of(await answer(engine, PARIS, replace(GREEDY, logprobs=20)))
        assert [len(each.top) for each in few] == [num_top] * 7
        assert [each.token_id for each in few] == [each.token_id for each in many]
        for one, other in zip(few, many, strict=True):
            assert one.logprob == pytest.approx(other.logprob, abs=0.02)

    async def test_each_token_has_its_text(self, engine: Engine) -> None:
        """The texts of the tokens are the answer; the end token has none."""
        logprobs = logprobs_of(await answer(engine, PARIS, replace(GREEDY, logprobs=0)))
        assert text_of(logprobs) == PARIS_ANSWER.encode()
        ids = (await engine.render(TextPrompt(PARIS_ANSWER))).token_ids
        assert [each.token_id for each in logprobs] == list(ids)

    async def test_same_in_context(self, engine: Engine) -> None:
        """The second token is as likely as it is behind a prompt that ends with the first."""
        prompt = await engine.render(STORY)
        params = replace(GREEDY, max_tokens=2, logprobs=3, ignore_eos=True)
        first, second = logprobs_of(await drain(engine.generate(request_for(prompt, params))))
        longer = RenderedPrompt(TokenIds.of([*prompt.token_ids, first.token_id]))
        again, _ = logprobs_of(await drain(engine.generate(request_for(longer, params))))
        assert again.token_id == second.token_id
        assert [top.logprob for top in again.top] == pytest.approx(
            [top.logprob for top in second.top], abs=0.02
        )

    async def test_temperature_changes_nothing(self, engine: Engine) -> None:
        """They are the model's own: temperature and cuts choose a token, and are not in them."""
        params = replace(GREEDY, max_tokens=1, logprobs=5)
        cold = logprobs_of(await answer(engine, STORY, params))
        warm = replace(RANDOM, temperature=2.0, top_k=3, max_tokens=1, logprobs=5)
        warm_logprobs = logprobs_of(await answer(engine, STORY, warm))
        assert [top.logprob for top in warm_logprobs[0].top] == pytest.approx(
            [top.logprob for top in cold[0].top], abs=0.02
        )

    @pytest.mark.parametrize(
        ("stop", "left"), [(" France is", "The capital of"), ("ital", "The cap")]
    )
    async def test_stop_string_cuts_them(self, engine: Engine, stop: str, left: str) -> None:
        """Tokens whose text begins inside a stop string have none; one it cuts in two has."""
        params = replace(GREEDY, logprobs=0, stop=(stop,))
        result = await answer(engine, PARIS, params)
        logprobs = logprobs_of(result)
        assert result.text == left
        assert text_of(logprobs).startswith(left.encode())
        whole = logprobs_of(await answer(engine, PARIS, replace(GREEDY, logprobs=0)))
        num_left = next(
            count for count in range(len(whole) + 1) if len(text_of(whole[:count])) >= len(left)
        )
        assert [each.token_id for each in logprobs] == [each.token_id for each in whole[:num_left]]

    @pytest.mark.parametrize("text", ["🌍🦊🌍🦊🌍🦊🌍🦊🌍", "漢字漢字漢字漢字漢"])
    async def test_parts_of_characters(self, engine: Engine, text: str) -> None:
        """Where characters take several tokens, the bytes of the tokens are those of the text."""
        for max_tokens in (1, 2, 3, 8):
            params = replace(GREEDY, max_tokens=max_tokens, logprobs=1, ignore_eos=True)
            result = await answer(engine, TextPrompt(text), params)
            told = text_of(logprobs_of(result))
            # A last character that is not whole is not in the text.
            assert told.startswith(result.text.encode())
            assert len(told) - len(result.text.encode()) < 4

    async def test_one_for_each_choice_and_token(self, engine: Engine) -> None:
        """Every choice has its own."""
        params = replace(RANDOM, n=3, max_tokens=5, logprobs=1)
        result = await answer(engine, STORY, params)
        for choice in range(3):
            own = [delta for delta in result.deltas if delta.choice == choice]
            logprobs = [logprob for delta in own for logprob in delta.logprobs]
            text = "".join(delta.text for delta in own)
            assert text_of(logprobs).startswith(text.encode())


def logprobs_of(result: Answer) -> list[TokenLogprob]:
    return [logprob for delta in result.deltas for logprob in delta.logprobs]


def text_of(logprobs: list[TokenLogprob]) -> bytes:
    return b"".join(logprob.text for logprob in logprobs)
