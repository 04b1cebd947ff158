"""Calls that need a model's tokenizer alone: no slot, no generation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from ..constraints.checker import ConstraintChecker
from ..contract.engine import Engine
from ..contract.errors import InferenceError, QueueTimeout
from ..contract.prompts import PlainText, TokenizedText
from ..contract.token_ids import TokenIds
from ..media.images import Images
from ..models.models import Models
from ..models.served_model import ServedModel
from ..settings.server_config import ServerConfig
from .calls import Call
from .checks.answer_size import check_answer_size
from .checks.constrained import check_demanded, check_kind, find_grammar
from .checks.lora_adapter import find_adapter
from .checks.prompt_checks import choose_prompt, num_bytes_of
from .image_checks import add_images, check_images
from .sampling import SamplingDefaults, resolve_sampling

_BYTES_PER_ID: Final = 4


@dataclass(frozen=True, slots=True)
class PromptSize:
    """The tokens of a prompt, and the most that prompt and answer may have together."""

    num_prompt_tokens: int
    context_length: int


class Tokenizing:
    """Tokenises on the models of this server, under the same limit as requests are rendered.

    `images` decodes what the models see; without it no call may have an image. With `defaults` and
    `constraints` a call that is counted is checked as one that is sent.
    """

    def __init__(
        self,
        models: Models,
        defaults: SamplingDefaults,
        queue_timeout_s: float,
        constraints: ConstraintChecker,
        *,
        images: Images | None = None,
    ) -> None:
        self._models = models
        self._defaults = defaults
        self._queue_timeout_s = queue_timeout_s
        self._constraints = constraints
        self._images = images

    @classmethod
    def of(
        cls, config: ServerConfig, models: Models, constraints: ConstraintChecker, images: Images
    ) -> Tokenizing:
        """Makes one that does what the configuration says."""
        return cls(
            models,
            SamplingDefaults.of(config),
            queue_timeout_s=config.queue_timeout_ms / 1000,
            constraints=constraints,
            images=images,
        )

    @property
    def offered(self) -> list[str]:
        """The models and adapters of this server."""
        return [view.model_id for view in self._models.views]

    async def tokenize(
        self, model_id: str, text: PlainText, max_wait_s: float | None
    ) -> TokenizedText:
        """Turns a text into tokens; `max_wait_s` None is the server's own limit.

        Raises:
            InferenceError: any failure that has a reason of its own for the caller.
        """
        async with self._engine(model_id, len(text.text.encode()), max_wait_s) as engine:
            return await engine.tokenize(text)

    async def detokenize(
        self, model_id: str, token_ids: TokenIds, max_wait_s: float | None
    ) -> bytes:
        """Turns tokens into what they stand for; raises as `tokenize` does."""
        num_bytes = _BYTES_PER_ID * len(token_ids)
        async with self._engine(model_id, num_bytes, max_wait_s) as engine:
            return await engine.detokenize(token_ids)

    async def count(self, call: Call) -> PromptSize:
        """Counts the tokens of a call's prompt, its images too; raises as `tokenize` does.

        A call that would be refused is refused here, too, but for a prompt that is too long.
        With images it waits for the model before they are decoded, and for a turn afterwards.
        """
        route = self._models.route(call.model_id)
        await find_grammar(call, self._constraints)
        async with AsyncExitStack() as held:
            prompt = call.prompt
            if call.images:
                # Decoded in no turn, which others wait for.
                async with self._engine(call.model_id, 0, call.max_queue_wait_s) as engine:
                    choose_prompt(call, engine.info)
                    check_images(call, engine.info)
                prompt = await add_images(prompt, call, self._images, held)
                call = replace(call, prompt=prompt)
            num_bytes = num_bytes_of(prompt)
            async with self._engine(call.model_id, num_bytes, call.max_queue_wait_s) as engine:
                info = engine.info
                find_adapter(call, route, info)
                check_kind(call, info)
                rendered = await engine.render(choose_prompt(call, info))
        await check_demanded(call, rendered.form, self._constraints)
        context_length = info.context_length
        num_that_fit = min(rendered.num_tokens, context_length)
        params = resolve_sampling(call.sampling, self._defaults, info, num_that_fit)
        check_answer_size(call, params, num_that_fit)
        return PromptSize(rendered.num_tokens, context_length)

    @asynccontextmanager
    async def _engine(
        self, model_id: str, num_bytes: int, max_wait_s: float | None
    ) -> AsyncGenerator[Engine]:
        model = self._models.route(model_id).model
        limit_s = self._queue_timeout_s
        limit_s = limit_s if max_wait_s is None else min(limit_s, max_wait_s)
        waiting = asyncio.timeout(limit_s)
        with model.use():
            try:
                async with waiting, model.renders.turn(num_bytes):
                    engine = await model.wait_engine()
                    waiting.reschedule(None)
                    with model.question_timer.work():
                        yield engine
                    model.question_timer.record_sign()
            except TimeoutError:
                if not waiting.expired():
                    raise
                raise _explain(model, limit_s) from None


def _explain(model: ServedModel, limit_s: float) -> InferenceError:
    if not model.is_serving:
        return model.standing.explain()
    limit_ms = round(limit_s * 1000)
    return QueueTimeout(
        f"the tokenizer was not free within {limit_ms} ms", metadata={"limit_ms": str(limit_ms)}
    )
