"""One model on llama.cpp, loaded and answering."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final

import aiohttp

from ...contract.earlier_output import EarlierOutput
from ...contract.engine import EngineRequest, EngineStatus, ModelInfo, StepCount
from ...contract.errors import EngineLost, GenerationFailed
from ...contract.events import EngineEvent, TextDelta
from ...contract.prompts import PlainText, Prompt, RenderedPrompt, TokenizedText
from ...contract.token_ids import TokenIds
from ..answers.answer_reader import AnswerReader
from ..choices import merge_choices
from .child.process import LlamaCppProcess
from .client import LlamaCppClient, Refused, Unreachable, read_events
from .earlier_text import begin_of, prompt_with, retell
from .output.answer_fields import answer_fields
from .output.piece_ids import PieceIds
from .output.steps import read_steps
from .output.stream import RESPONSE_FIELDS, StopTexts, StreamReader
from .prompts.image_prompts import spell_prompt
from .prompts.rendering import PromptRenderer
from .prompts.tokenizing import TextTokenizer
from .sampling import sampling_fields
from .slots import Slot, Slots

_LET_GO_TIMEOUT_S: Final = 10.0
_POLL_S: Final = 0.02


class LlamaCppEngine:
    """A llama.cpp server in a child process.

    With prefix caching a request takes the slot that holds the longest part of its prompt, among
    those last used with the same cache salt; a slot of another salt is used without what it holds.
    """

    def __init__(
        self,
        info: ModelInfo,
        process: LlamaCppProcess,
        client: LlamaCppClient,
        renderer: PromptRenderer,
        tokenizer: TextTokenizer,
        *,
        num_slots: int,
        batch_tokens: int,
        prefix_caching: bool,
    ) -> None:
        self._info = info
        self._process = process
        self._client = client
        self._renderer = renderer
        self._tokenizer = tokenizer
        self._batch_tokens = batch_tokens
        self._prefix_caching = prefix_caching
        self._slots = Slots(num_slots)
        self._stop_texts = StopTexts(client)
        self._piece_ids = PieceIds(client)
        self._releases = set[asyncio.Task[None]]()
        self._closing: asyncio.Task[None] | None = None

    @property
    def info(self) -> ModelInfo:
        """The loaded model."""
        return self._info

    @property
    def pid(self) -> int:
        """The child's process id, which is also its process group's."""
        return self._process.pid

    async def render(self, prompt: Prompt) -> RenderedPrompt:
        """Applies template and tokenizer; see `Engine.render`."""
        self._check_alive()
        try:
            return await self._renderer.render(prompt)
        except Unreachable as error:
            raise EngineLost() from error

    async def tokenize(self, text: PlainText) -> TokenizedText:
        """Applies the tokenizer alone; see `Engine.tokenize`."""
        self._check_alive()
        try:
            return await self._tokenizer.tokenize(text)
        except Unreachable as error:
            raise EngineLost() from error

    async def detokenize(self, token_ids: TokenIds) -> bytes:
        """Returns what tokens stand for; see `Engine.detokenize`."""
        self._check_alive()
        try:
            return await self._tokenizer.detokenize(token_ids)
        except Unreachable as error:
            raise EngineLost() from error

    async def generate(self, request: EngineRequest) -> AsyncGenerator[EngineEvent]:
        """Prefills, then decodes; see `Engine.generate`."""
        self._check_alive()
        stop_texts = await self._stop_texts.find(request.params.stop_token_ids)
        choices = [
            self._generate_choice(request, choice, stop_texts) for choice in request.open_choices
        ]
        answer = AnswerReader(request.prompt.form)
        async with aclosing(choices[0] if len(choices) == 1 else merge_choices(choices)) as events:
            async for event in events:
                for told in answer.read(event):
                    yield told

    async def _generate_choice(
        self, request: EngineRequest, choice: int, stop_texts: Mapping[int, str]
    ) -> AsyncGenerator[EngineEvent]:
        earlier = begin_of(request, choice)
        reader = StreamReader(
            (*request.params.stop, *request.prompt.stop),
            stop_texts=stop_texts,
            num_top=request.params.logprobs or 0,
            choice=choice,
            earlier=await self._retell(earlier, choice),
        )
        if len(earlier.token_ids) >= request.params.max_tokens:
            for translated in reader.end_at_limit():
                yield translated
            return
        prompt = prompt_with(request.prompt, earlier)
        slot = await self._slots.take(prompt.token_ids, request.cache_salt)
        opening = asyncio.create_task(
            self._open(request, choice, slot, prompt),
            name=f"llama.cpp request {request.request_id}",
        )
        try:
            # Shielded: a request is only known to the server's slots once its stream has begun,
            # so that is awaited even for a caller that has left.
            response = await asyncio.shield(opening)
            async with aclosing(read_events(response)) as events:
                async for event in events:
                    ids = await self._piece_ids.find(event, reader.count_new(event))
                    for translated in reader.read(event, ids):
                        yield translated
                    if reader.is_finished:
                        return
            raise EngineLost()
        except Unreachable as error:
            raise EngineLost() from error
        except Refused as error:
            raise GenerationFailed("the engine refused this request", detail=str(error)) from error
        finally:
            releasing = asyncio.create_task(
                self._release(slot, request, opening, reader, prompt),
                name=f"llama.cpp release {slot.index}",
            )
            self._releases.add(releasing)
            releasing.add_done_callback(self._releases.discard)
            # The release goes on behind this bound: the slot is not given out before.
            await asyncio.wait({releasing}, timeout=_LET_GO_TIMEOUT_S)

    async def status(self) -> EngineStatus:
        """Asks the server about its slots; see `Engine.status`."""
        self._check_alive()
        slots = await self._get_slots()
        busy = [slot for slot in slots if slot["is_processing"]]
        num_held = sum(slot.get("n_prompt_tokens", 0) for slot in busy)
        num_total = sum(slot["n_ctx"] for slot in slots)
        return EngineStatus(
            num_running=len(busy),
            num_queued=self._slots.num_waiting,
            kv_usage=min(1.0, num_held / num_total),
        )

    async def count_steps(self) -> StepCount:
        """Asks the server how far it has come; see `Engine.count_steps`."""
        return read_steps(await self.read_metrics(), self._batch_tokens)

    async def read_metrics(self) -> str:
        """Asks the server for its own series; see `Engine.read_metrics`."""
        self._check_alive()
        try:
            return await self._client.get_text("/metrics")
        except (Unreachable, Refused) as error:
            raise EngineLost("the engine of the model does not answer") from error

    async def wait_lost(self) -> str:
        """Returns how the child ended, once it has."""
        return await self._process.wait_lost()

    async def close(self) -> None:
        """Ends the child; see `Engine.close`."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="llama.cpp close")
        # Shielded: a caller that is cancelled must not leave the child running.
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        await self._process.close()
        if self._releases:
            await asyncio.wait(self._releases)
        await self._client.close()

    async def _retell(self, earlier: EarlierOutput, choice: int) -> TextDelta | None:
        try:
            return await retell(earlier, choice, self._tokenizer)
        except Unreachable as error:
            raise EngineLost() from error

    async def _open(
        self, request: EngineRequest, choice: int, slot: Slot, prompt: RenderedPrompt
    ) -> aiohttp.ClientResponse:
        num_earlier = len(prompt.token_ids) - len(request.prompt.token_ids)
        body = {
            "prompt": await spell_prompt(prompt),
            "id_slot": slot.index,
            "cache_prompt": self._prefix_caching and slot.cache_salt == request.cache_salt,
            "stream": True,
            # Progress is what tells a server busy with a prompt that nobody waits for it.
            "return_progress": True,
            "response_fields": RESPONSE_FIELDS,
            **sampling_fields(request.params, request.prompt, choice, num_earlier),
            **answer_fields(request.prompt.form),
            **({"grammar": request.constraint} if request.constraint else {}),
        }
        return await self._client.open_stream("/completion", body)

    async def _release(
        self,
        slot: Slot,
        request: EngineRequest,
        opening: asyncio.Task[aiohttp.ClientResponse],
        reader: StreamReader,
        prompt: RenderedPrompt,
    ) -> None:
        try:
            response = await opening
        except Refused:
            pass  # it never came to the slot, which holds what it held
        except Unreachable:
            pass  # nor will anything else: the child is dead
        else:
            response.close()
            slot = Slot(slot.index, prompt.token_ids, request.cache_salt)
            if not reader.has_server_finished:
                await self._wait_until_idle(slot)
        finally:
            self._slots.give_back(slot)

    async def _wait_until_idle(self, slot: Slot) -> None:
        # Polled: the server tells nobody when it has noticed that a client left. The loop ends
        # with the step (or the batch of a prefill) that is being computed, or with the child.
        try:
            while (await self._get_slots())[slot.index]["is_processing"]:  # noqa: ASYNC110 - above
                await asyncio.sleep(_POLL_S)
        except EngineLost:
            return

    async def _get_slots(self) -> list[dict[str, Any]]:
        try:
            slots: list[dict[str, Any]] = await self._client.get("/slots")
        except (Unreachable, Refused) as error:
            raise EngineLost("the engine of the model does not answer") from error
        return slots

    def _check_alive(self) -> None:
        if self._process.is_lost:
            raise EngineLost("the engine of the model has stopped")
