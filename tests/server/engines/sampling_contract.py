"""How every engine samples."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tokenwire.server.contract.engine import Engine, SamplingParams
from tokenwire.server.contract.events import FinishReason
from tokenwire.server.contract.prompts import TextPrompt

from .generation import (
    GREEDY,
    PARIS,
    PARIS_ANSWER,
    RANDOM,
    STORY,
    Contract,
    answer,
    id_of,
)


class SamplingContract(Contract):
    """How every engine samples."""

    async def test_greedy_repeats(self, engine: Engine) -> None:
        """At temperature 0 the same prompt gives the same text."""
        params = replace(GREEDY, max_tokens=10)
        first = await answer(engine, STORY, params)
        assert (await answer(engine, STORY, params)).text == first.text

    @pytest.mark.parametrize(
        "narrowed",
        [
            replace(RANDOM, top_k=1),
            replace(RANDOM, min_p=1.0),
            replace(RANDOM, top_p=1e-6),
            replace(RANDOM, temperature=1e-9),
        ],
        ids=["top_k", "min_p", "top_p", "temperature"],
    )
    async def test_narrowest_choice_is_greedy(
        self, engine: Engine, narrowed: SamplingParams
    ) -> None:
        """A cut that leaves one token leaves the likeliest."""
        narrowed = replace(narrowed, max_tokens=8, ignore_eos=False)
        assert (await answer(engine, PARIS, narrowed)).text == PARIS_ANSWER

    async def test_seed_repeats(self, engine: Engine) -> None:
        """The same seed gives the same text."""
        self.need("seeds")
        first = await answer(engine, STORY, RANDOM)
        assert (await answer(engine, STORY, RANDOM)).text == first.text

    @pytest.mark.parametrize("seed", [0, 2**31, 2**32 - 1])
    async def test_every_seed_repeats(self, engine: Engine, seed: int) -> None:
        """The smallest and the largest seeds are seeds like any other."""
        self.need("seeds")
        params = replace(RANDOM, seed=seed)
        first = await answer(engine, STORY, params)
        assert (await answer(engine, STORY, params)).text == first.text

    async def test_other_seed_other_text(self, engine: Engine) -> None:
        """Another seed gives another text."""
        self.need("seeds")
        texts = {
            (await answer(engine, STORY, replace(RANDOM, seed=seed))).text for seed in (1, 2, 3)
        }
        assert len(texts) == 3

    async def test_temperature_varies(self, engine: Engine) -> None:
        """Without a seed, a warm model does not repeat itself."""
        params = replace(RANDOM, seed=None)
        texts = {(await answer(engine, STORY, params)).text for _ in range(3)}
        assert len(texts) > 1

    @pytest.mark.parametrize(
        "penalised",
        [
            replace(GREEDY, presence_penalty=2.0),
            replace(GREEDY, frequency_penalty=2.0),
            replace(GREEDY, repetition_penalty=2.0),
        ],
        ids=["presence", "frequency", "repetition"],
    )
    async def test_penalty_breaks_repetition(
        self, engine: Engine, penalised: SamplingParams
    ) -> None:
        """A text that would go round in circles does not, with a penalty."""
        prompt = TextPrompt("Yes.\nYes.\nYes.\n")
        plain = await answer(engine, prompt, replace(GREEDY, max_tokens=16))
        penalised = replace(penalised, max_tokens=16)
        assert (await answer(engine, prompt, penalised)).text != plain.text

    @pytest.mark.parametrize(
        "penalised",
        [replace(GREEDY, presence_penalty=2.0), replace(GREEDY, frequency_penalty=2.0)],
        ids=["presence", "frequency"],
    )
    async def test_penalty_spares_prompt(self, engine: Engine, penalised: SamplingParams) -> None:
        """What only the prompt has said is not penalised."""
        prompt = TextPrompt("red blue red blue red blue red")
        plain = await answer(engine, prompt, replace(GREEDY, max_tokens=1))
        assert (await answer(engine, prompt, replace(penalised, max_tokens=1))).text == plain.text

    async def test_penalised_chat_ends(self, engine: Engine) -> None:
        """A penalty does not keep a chat from its end."""
        params = replace(GREEDY, presence_penalty=1.0, frequency_penalty=1.0)
        assert (await answer(engine, PARIS, params)).end.reason is FinishReason.EOS

    async def test_logit_bias_bans(self, engine: Engine) -> None:
        """A bias of -100 keeps a token out."""
        the = await id_of(engine, "The")
        params = replace(GREEDY, max_tokens=4, logit_bias={the: -100.0})
        assert not (await answer(engine, PARIS, params)).text.startswith("The")

    async def test_logit_bias_forces(self, engine: Engine) -> None:
        """A bias of 100 makes a token come."""
        apple = await id_of(engine, " apple")
        params = replace(GREEDY, max_tokens=3, logit_bias={apple: 100.0})
        assert (await answer(engine, PARIS, params)).text == " apple" * 3

    async def test_ignore_eos(self, engine: Engine) -> None:
        """A generation that ignores the end runs to its limit."""
        result = await answer(engine, PARIS, replace(GREEDY, ignore_eos=True))
        assert result.end.reason is FinishReason.LENGTH
        assert result.finished.num_completion_tokens == GREEDY.max_tokens

    async def test_min_tokens(self, engine: Engine) -> None:
        """The end does not come before the least number of tokens."""
        self.need("min_tokens")
        finished = (await answer(engine, PARIS, replace(GREEDY, min_tokens=12))).finished
        assert finished.num_completion_tokens >= 12
