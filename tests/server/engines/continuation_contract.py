"""How every engine goes on with an answer that another one began."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from tokenwire.server.constraints.checker import ConstraintChecker
from tokenwire.server.contract.constraint import Constraint, ConstraintKind
from tokenwire.server.contract.earlier_output import EarlierOutput
from tokenwire.server.contract.engine import Engine, SamplingParams
from tokenwire.server.contract.events import FinishReason, TextDelta
from tokenwire.server.contract.prompts import Prompt, TextPrompt
from tokenwire.server.contract.token_ids import TokenIds

from .choices_contract import texts_of
from .generation import (
    GREEDY,
    PARIS,
    PARIS_ANSWER,
    STORY,
    Answer,
    Contract,
    answer,
    assert_idle,
    assert_in_order,
    drain,
    request_for,
)

LONG = replace(GREEDY, max_tokens=24, ignore_eos=True)


class ContinuationContract(Contract):
    """How every engine goes on with an answer that another one began."""

    @pytest.mark.parametrize("num_earlier", [1, 7, 23, 24])
    async def test_goes_on_behind_earlier_output(self, engine: Engine, num_earlier: int) -> None:
        """It tells all of the answer, which is that of one engine, and counts it once."""
        whole = await answer(engine, STORY, LONG)
        again = await go_on(engine, STORY, LONG, ids_of(whole)[:num_earlier])
        assert_in_order(again.events)
        assert again.text == whole.text
        assert ids_of(again) == ids_of(whole)
        assert again.end == whole.end
        assert again.finished.num_completion_tokens == 24
        await assert_idle(engine)

    async def test_goes_on_to_the_end_of_the_answer(self, engine: Engine) -> None:
        """The model ends the answer where it would have ended it."""
        whole = await answer(engine, PARIS)
        again = await go_on(engine, PARIS, GREEDY, ids_of(whole)[:3])
        assert (again.text, again.end.reason) == (PARIS_ANSWER, FinishReason.EOS)
        counts = (each.finished.num_completion_tokens for each in (whole, again))
        assert len(set(counts)) == 1

    async def test_goes_on_within_a_stop_string(self, engine: Engine) -> None:
        """A stop string that began in the earlier output and ends behind it is found."""
        whole = await answer(engine, PARIS)
        params = replace(GREEDY, stop=("France is Par",))
        again = await go_on(engine, PARIS, params, ids_of(whole)[:5])  # up to " is"
        assert again.text == PARIS_ANSWER[: PARIS_ANSWER.index("France")]
        assert (again.end.reason, again.end.matched) == (FinishReason.STOP, "France is Par")

    @pytest.mark.parametrize(
        "penalties",
        [
            {"presence_penalty": 1.5},
            {"frequency_penalty": 1.5},
            {"repetition_penalty": 1.4},
            {"presence_penalty": 0.8, "frequency_penalty": 0.8, "repetition_penalty": 1.2},
        ],
        ids=["presence", "frequency", "repetition", "all"],
    )
    async def test_penalties_count_earlier_output(
        self, engine: Engine, penalties: dict[str, float]
    ) -> None:
        """Tokens that stand in the earlier output are penalised as if this engine had said them."""
        params = replace(LONG, max_tokens=40, **penalties)  # type: ignore[arg-type] # all floats
        whole = await answer(engine, TextPrompt("one two one two one two"), params)
        again = await go_on(
            engine, TextPrompt("one two one two one two"), params, ids_of(whole)[:20]
        )
        assert again.text == whole.text

    async def test_logprobs_are_those_of_new_tokens(self, engine: Engine) -> None:
        """Each new token has the log-probability that it would have had; the earlier ones none."""
        params = replace(LONG, logprobs=2)
        whole = await answer(engine, STORY, params)
        again = await go_on(engine, STORY, params, ids_of(whole)[:8])
        expected = [each for delta in whole.deltas for each in delta.logprobs][8:]
        found = [each for delta in again.deltas for each in delta.logprobs]
        assert [each.token_id for each in found] == [each.token_id for each in expected]
        for one, other in zip(found, expected, strict=True):
            assert one.logprob == pytest.approx(other.logprob, abs=0.05)

    async def test_goes_on_with_characters_of_several_tokens(self, engine: Engine) -> None:
        """Characters that take several tokens are neither lost nor told twice."""
        prompt = TextPrompt("😀 🎉 😀 🎉 😀 🎉 😀 🎉 😀")
        whole = await answer(engine, prompt, LONG)
        assert "🎉" in whole.text
        for num_deltas in range(1, 6):
            ids = [token_id for delta in whole.deltas[:num_deltas] for token_id in delta.token_ids]
            assert (await go_on(engine, prompt, LONG, ids)).text == whole.text

    async def test_goes_on_with_the_choices_that_have_no_end(self, engine: Engine) -> None:
        """A choice that has ended is not told of; the others go on, and are counted."""
        params = replace(LONG, n=3)
        rendered = await engine.render(STORY)
        whole = await drain(engine.generate(request_for(rendered, params)))
        ids = TokenIds.of(ids_of(await answer(engine, STORY, LONG))[:5])
        earlier = (EarlierOutput(), EarlierOutput(ids, has_ended=True), EarlierOutput(ids))
        request = replace(request_for(rendered, params), earlier=earlier)
        again = await drain(engine.generate(request))
        assert texts_of(again) == {
            choice: text for choice, text in texts_of(whole).items() if choice != 1
        }
        assert again.finished.num_completion_tokens == 48

    async def test_constraint_goes_on(self, engine: Engine) -> None:
        """A grammar holds for earlier output and what follows together."""
        checker = ConstraintChecker()
        constraint = Constraint(
            ConstraintKind.REGEX, ("(one|two|three) and (four|five), then six",)
        )
        grammar = await checker.check(constraint)
        await checker.close()
        rendered = await engine.render(STORY)
        request = replace(request_for(rendered, GREEDY), constraint=grammar)
        whole = await drain(engine.generate(request))
        ids = ids_of(whole)
        for num_earlier in (1, len(ids) // 2, len(ids) - 1):
            earlier = (EarlierOutput(TokenIds.of(ids[:num_earlier])),)
            again = await drain(engine.generate(replace(request, earlier=earlier)))
            assert again.text == whole.text
            assert again.end.reason is FinishReason.EOS


async def go_on(
    engine: Engine, prompt: Prompt, params: SamplingParams, token_ids: Sequence[int]
) -> Answer:
    """The answer of an engine that gets its first tokens."""
    request = request_for(await engine.render(prompt), params)
    earlier = (EarlierOutput(TokenIds.of(token_ids)),)
    return await drain(engine.generate(replace(request, earlier=earlier)))


def ids_of(result: Answer) -> list[int]:
    """The ids of all tokens that were told."""
    deltas = (event for event in result.events if isinstance(event, TextDelta))
    return [token_id for delta in deltas for token_id in delta.token_ids]
