"""How every engine keeps to its context."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tokenwire.server.contract.engine import Engine
from tokenwire.server.contract.errors import GenerationFailed
from tokenwire.server.contract.events import FinishReason

from .generation import (
    GREEDY,
    PARIS,
    PARIS_ANSWER,
    Contract,
    answer,
    assert_idle,
    drain,
    long_prompt,
    request_for,
)


class ContextContract(Contract):
    """How every engine keeps to its context."""

    async def test_prompt_filling_context_ends_with_length(self, engine: Engine) -> None:
        """Prompt and answer together may have exactly the context's length."""
        prompt = await long_prompt(engine, engine.info.context_length - 4)
        params = replace(GREEDY, max_tokens=4, ignore_eos=True)
        result = await drain(engine.generate(request_for(prompt, params)))
        assert result.end.reason is FinishReason.LENGTH
        assert result.finished.num_completion_tokens == 4

    async def test_prompt_leaves_room_for_one(self, engine: Engine) -> None:
        """A prompt that leaves room for one token is answered with one."""
        prompt = await long_prompt(engine, engine.info.context_length - 1)
        params = replace(GREEDY, max_tokens=1, ignore_eos=True)
        result = await drain(engine.generate(request_for(prompt, params)))
        assert result.end.reason is FinishReason.LENGTH
        assert result.finished.num_completion_tokens == 1

    @pytest.mark.parametrize("excess", [64, 5_000])
    async def test_prompt_over_context_is_refused(self, engine: Engine, excess: int) -> None:
        """A prompt that is too long fails by itself, without a word of text, and alone."""
        prompt = await long_prompt(engine, engine.info.context_length + excess)
        stream = engine.generate(request_for(prompt, replace(GREEDY, max_tokens=1)))
        with pytest.raises(GenerationFailed):
            # Nothing but progress before it: whoever looks at the prompt first looks at its length.
            assert (await drain(stream)).deltas == ()
        await assert_idle(engine)
        assert (await answer(engine, PARIS)).text == PARIS_ANSWER
