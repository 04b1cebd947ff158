"""How every engine honours stop strings."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tokenwire.server.contract.engine import Engine
from tokenwire.server.contract.events import FinishReason
from tokenwire.server.contract.prompts import TextPrompt

from .generation import (
    GREEDY,
    PARIS,
    PARIS_ANSWER,
    Contract,
    answer,
    drain,
    id_of,
    request_for,
)


class StopContract(Contract):
    """How every engine honours stop strings."""

    @pytest.mark.parametrize("length", [1, 7])
    async def test_stop_at_every_split(self, engine: Engine, length: int) -> None:
        """A stop string ends the text before it, wherever it lies, and no part of it is told."""
        stops = [PARIS_ANSWER[at : at + length] for at in range(len(PARIS_ANSWER) - length + 1)]
        results = await asyncio.gather(
            *(answer(engine, PARIS, replace(GREEDY, stop=(stop,))) for stop in stops)
        )
        for stop, result in zip(stops, results, strict=True):
            assert result.text == PARIS_ANSWER[: PARIS_ANSWER.index(stop)], stop
            assert result.end.reason is FinishReason.STOP, stop
            assert result.end.matched == stop

    @pytest.mark.parametrize("boundary", range(6))
    async def test_stop_across_every_boundary(self, engine: Engine, boundary: int) -> None:
        """A stop string is found however the border between two tokens cuts it."""
        words = ("The", " capital", " of", " France", " is", " Paris", ".")
        assert "".join(words) == PARIS_ANSWER
        before, after = words[boundary][-4:], words[boundary + 1][:4]
        stops = [
            before[at:] + after[:end]
            for at in range(len(before))
            for end in range(1, len(after) + 1)
        ]
        results = await asyncio.gather(
            *(answer(engine, PARIS, replace(GREEDY, stop=(stop,))) for stop in stops)
        )
        for stop, result in zip(stops, results, strict=True):
            assert result.text == PARIS_ANSWER[: PARIS_ANSWER.index(stop)], stop
            assert result.end.matched == stop

    async def test_stop_over_many_tokens(self, engine: Engine) -> None:
        """A stop string that spans most of the answer is held back and found."""
        stop = PARIS_ANSWER[2:-1]
        result = await answer(engine, PARIS, replace(GREEDY, stop=(stop,)))
        assert (result.text, result.end.matched) == ("Th", stop)

    async def test_stop_counts_tokens(self, engine: Engine) -> None:
        """The count of a stopped answer holds the tokens that the stop string took."""
        result = await answer(engine, PARIS, replace(GREEDY, stop=(" France is",)))
        assert result.text == "The capital of"
        assert result.finished.num_completion_tokens >= 5

    async def test_stop_at_first_token(self, engine: Engine) -> None:
        """A stop string at the very beginning leaves an empty text."""
        result = await answer(engine, PARIS, replace(GREEDY, stop=("The",)))
        assert result.text == ""
        assert result.end.matched == "The"

    async def test_first_of_several_stops(self, engine: Engine) -> None:
        """Of several stop strings the one that comes first in the text ends it."""
        stops = ("Paris", " of ", "Berlin")
        result = await answer(engine, PARIS, replace(GREEDY, stop=stops))
        assert result.text == "The capital"
        assert result.end.matched == " of "

    async def test_unmatched_stop_holds_nothing_back(self, engine: Engine) -> None:
        """Text that only began like a stop string is told in the end."""
        stops = ("France is Berlin", "Paris. It", ".\n\n\n")
        result = await answer(engine, PARIS, replace(GREEDY, stop=stops))
        assert result.text == PARIS_ANSWER
        assert result.end.reason is FinishReason.EOS

    @pytest.mark.parametrize("max_tokens", [4, 5, 6])
    async def test_limit_inside_possible_stop(self, engine: Engine, max_tokens: int) -> None:
        """Text held back for a stop string is told when the limit comes first."""
        params = replace(GREEDY, max_tokens=max_tokens)
        plain = await answer(engine, PARIS, params)
        held = await answer(engine, PARIS, replace(params, stop=("capital of France is Paris!",)))
        assert held.text == plain.text
        assert held.end.reason is FinishReason.LENGTH

    async def test_stop_of_template(self, engine: Engine) -> None:
        """The stop strings that come with the prompt are honoured like the request's own."""
        rendered = replace(await engine.render(PARIS), stop=(" France",))
        result = await drain(engine.generate(request_for(rendered)))
        assert result.text == "The capital of"
        assert result.end.matched == " France"

    async def test_stop_with_wide_characters(self, engine: Engine) -> None:
        """A stop string of several bytes a character is matched whole."""
        result = await answer(
            engine, TextPrompt("🌍🦊🌍🦊🌍🦊🌍🦊🌍"), replace(GREEDY, max_tokens=16, stop=("🦊",))
        )
        assert "🦊" not in result.text
        assert "\ufffd" not in result.text

    async def test_stop_token_id(self, engine: Engine) -> None:
        """A stop token ends the text and is told by its id."""
        self.need("stop_token_ids")
        paris = await id_of(engine, " Paris")
        result = await answer(engine, PARIS, replace(GREEDY, stop_token_ids=(paris,)))
        assert result.end.reason is FinishReason.STOP
        assert result.end.matched == paris
        assert "." not in result.text
        assert result.text == "The capital of France is"

    async def test_stop_at_end_token(self, engine: Engine) -> None:
        """An end token that is asked for as a stop id is told as one."""
        self.need("stop_token_ids")
        end = await id_of(engine, "<|im_end|>")
        result = await answer(engine, PARIS, replace(GREEDY, stop_token_ids=(end,)))
        assert (result.text, result.end.matched) == (PARIS_ANSWER, end)
        assert result.end.reason is FinishReason.STOP
