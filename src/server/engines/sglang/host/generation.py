"""One generation in the host: a choice or several, each a request of SGLang."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from ....contract.engine import EngineRequest
from ....contract.errors import GenerationFailed
from ....contract.events import EngineEvent, Finished, Started
from ...answers.answer_reader import AnswerReader
from ..messages import Event, Failed, Message, Released
from .output.choice import Choice, LoadedModel

_logger = logging.getLogger(__name__)


class Generation:
    """Runs one request and says what comes of it; the last word is always `Released`.

    Each choice is a request of SGLang with an id of its own, which can be aborted and be found
    stopped; SGLang's own choices of one request cannot. The others follow the first one when that
    has said something: the prompt lies in the cache then, for all of them.
    """

    def __init__(
        self,
        request: EngineRequest,
        model: LoadedModel,
        send: Callable[[Message], None],
    ) -> None:
        self._request = request
        self._id = request.request_id
        self._vocabulary = model.vocabulary
        self._send = send
        self._choices = [
            Choice(
                request,
                index,
                # SGLang matches ids by prefix: none may be the beginning of another.
                uuid.uuid4().hex if index else self._id,
                model,
                _ChoiceListener(self, index),
                tells_prompt=place == 0,
            )
            for place, index in enumerate(request.open_choices)
        ]
        self._is_prompt_cached = asyncio.Event()
        self._answer = AnswerReader(request.prompt.form)
        self._has_started = False
        self._has_failed = False
        self._num_cached = 0
        self._num_tokens: dict[int, int] = {}

    async def run(self) -> None:
        """Generates until the scheduler has let go of the request."""
        try:
            ids = self._request.prompt.token_ids
            if not ids or max(ids) >= self._vocabulary.size:
                self.fail("the prompt is empty or has ids outside the vocabulary")
            async with asyncio.TaskGroup() as tasks:
                for index, choice in enumerate(self._choices):
                    tasks.create_task(self._run_choice(index, choice))
        finally:
            self._send(Released(self._id))

    def abort(self) -> None:
        """Tells the scheduler to drop every choice; `run` returns when it has."""
        for choice in self._choices:
            choice.abort()

    async def _run_choice(self, index: int, choice: Choice) -> None:
        try:
            if index:
                await self._is_prompt_cached.wait()  # ended by the first choice, however it goes
            await choice.run()
        except (ValueError, TypeError) as error:
            # SGLang's own check of the request, before the scheduler has seen it.
            choice.refuse(str(error))
        except Exception as error:
            _logger.exception("generation_failed", extra={"request_id": self._id})
            self.fail(
                "the engine failed while it served this request", f"{type(error).__name__}: {error}"
            )
        finally:
            self._is_prompt_cached.set()

    def start(self, num_cached: int) -> None:
        """Tells the start, with the first word of the first choice."""
        if not self._has_started:
            self._has_started = True
            self._num_cached = num_cached
            self._is_prompt_cached.set()
            self.say(Started(num_cached))

    def say(self, event: EngineEvent) -> None:
        """Tells a delta, divided into text, thinking and calls."""
        if self._has_failed:
            return
        try:
            for told in self._answer.read(event):
                self._send(Event(self._id, told))
        except GenerationFailed as error:
            self.fail(error.message, error.detail)

    def finish(self, index: int, num_tokens: int) -> None:
        """Takes the end of a choice, and tells that of the generation behind the last one."""
        self._num_tokens[index] = num_tokens
        if len(self._num_tokens) == len(self._choices):
            self.say(Finished(sum(self._num_tokens.values()), self._num_cached))

    def fail(self, message: str, detail: str = "") -> None:
        """Tells a failure, of one choice or all, and drops the others."""
        if not self._has_failed:
            self._has_failed = True
            self._send(Failed(self._id, message, detail))
            self.abort()


@dataclass(frozen=True, slots=True)
class _ChoiceListener:
    """Tells a generation which choice it hears of."""

    generation: Generation
    index: int

    def start(self, num_cached: int) -> None:
        self.generation.start(num_cached)

    def say(self, event: EngineEvent) -> None:
        self.generation.say(event)

    def finish(self, num_tokens: int) -> None:
        self.generation.finish(self.index, num_tokens)

    def fail(self, message: str, detail: str = "") -> None:
        self.generation.fail(message, detail)
