"""A prompt that is rendered by the next engine where one dies over it."""

from __future__ import annotations

import asyncio

from ...contract.engine import Engine
from ...contract.errors import EngineLost, ModelLoadFailed
from ...contract.prompts import Prompt, RenderedPrompt
from ...models.served_model import ServedModel
from .continued_generation import Continuation


async def render_over_death(
    model: ServedModel, prompt: Prompt, continuation: Continuation
) -> RenderedPrompt:
    """Renders a prompt on the engine that serves, and once more on the next one if it dies.

    Raises:
        InferenceError: as `Engine.render` does.
        EngineLost: the next one died over it, too, or none came in time.
    """
    engine = model.engine
    try:
        return await _render(model, engine, prompt)
    except EngineLost:
        if not continuation.is_on:
            raise
        try:
            async with asyncio.timeout(continuation.max_wait_s):
                following = await model.next_engine(after=engine)
        except (TimeoutError, ModelLoadFailed):
            raise EngineLost() from None
        return await _render(model, following, prompt)


async def _render(model: ServedModel, engine: Engine, prompt: Prompt) -> RenderedPrompt:
    with model.question_timer.work():
        rendered = await engine.render(prompt)
    model.question_timer.record_sign()
    return rendered
