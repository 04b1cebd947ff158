"""Takes the front's commands and hands back what SGLang makes of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import signal
import socket
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NoReturn

from ....contract.engine import EngineRequest, SamplingParams
from ....contract.errors import InvalidRequest
from ....contract.prompts import RenderedPrompt
from ....contract.token_ids import TokenIds
from ..frames import FrameWriter, read_frame
from ..messages import (
    COMMANDS,
    Abort,
    AskMetrics,
    AskStatus,
    AskSteps,
    Begin,
    Broken,
    Command,
    Detokenize,
    Detokenized,
    EngineDead,
    Failed,
    Generate,
    LoadFailed,
    Message,
    Ready,
    Refused,
    Render,
    Rendered,
    Tokenize,
    Tokenized,
)
from .description.model_info import count_pool_tokens, describe_model
from .description.reports import Reports
from .generation import Generation
from .images import Eye
from .output.choice import LoadedModel
from .output.token_texts import TokenTexts
from .rendering import Renderer
from .sampling import Vocabulary
from .signals import end_group
from .tokenizing import TextTokenizer

_logger = logging.getLogger(__name__)

NUM_RENDER_THREADS: Final = 2
FAREWELL_S: Final = 2.0
WARM_UP_FAILED: Final = "SGLang loaded the model, and failed to answer a first request"


class HostServer:
    """Serves one front for the life of the host."""

    def __init__(self, engine: Any, begin: Begin) -> None:  # SGLang has no types
        self._engine = engine
        self._manager = engine.tokenizer_manager
        self._begin = begin
        self._renderer = Renderer(
            engine,
            begin.tool_parser,
            begin.reasoning_parser,
            reads_special=begin.special_tokens_in_text,
        )
        self._tokenizer = TextTokenizer(self._manager)
        self._eye = Eye(self._manager)
        self._threads = ThreadPoolExecutor(NUM_RENDER_THREADS, thread_name_prefix="render")
        self._model = LoadedModel(
            self._manager,
            Vocabulary(
                int(self._manager.model_config.vocab_size), frozenset(_end_ids(self._manager))
            ),
            TokenTexts(self._manager.tokenizer),
        )
        self._reports = Reports(self._manager)
        self._generations: dict[str, Generation] = {}
        self._why_dead: asyncio.Future[str] = engine.loop.create_future()

    async def serve(self, front: socket.socket) -> None:
        """Warms up, says `Ready`, and serves until the front or a process of SGLang is gone."""
        reader, stream = await asyncio.open_unix_connection(sock=front.dup())
        writer = FrameWriter(stream)
        self._watch_children()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._end_with_engine(writer))
            tasks.create_task(self._serve(reader, writer))

    async def _end_with_engine(self, writer: FrameWriter) -> NoReturn:
        """Waits for a death, reports it and ends: SGLang would leave every request hanging."""
        writer.send(EngineDead(await self._why_dead))
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(FAREWELL_S):
                await writer.drain()
        end_group()

    def _watch_children(self) -> None:
        """Learns of the death of scheduler or detokenizer at once."""
        loop = asyncio.get_running_loop()
        self._manager.auto_create_handle_loop()
        # After auto_create_handle_loop, which installs SGLang's own: its SIGQUIT handler waits
        # and then kills this process without a word to the front; its SIGTERM handler drains
        # without an end.
        loop.add_signal_handler(signal.SIGQUIT, self._set_dead, "a process of the engine died")
        loop.add_signal_handler(signal.SIGTERM, end_group)
        for child in multiprocessing.active_children():
            name = _process_title(child.pid) or child.name
            loop.add_reader(child.sentinel, self._child_ended, child.sentinel, name)

    def _child_ended(self, sentinel: int, name: str) -> None:
        asyncio.get_running_loop().remove_reader(sentinel)
        self._set_dead(f"{name} died")

    def _set_dead(self, why: str) -> None:
        if not self._why_dead.done():
            self._why_dead.set_result(why)

    async def _serve(self, reader: asyncio.StreamReader, writer: FrameWriter) -> None:
        try:
            outcome = await self._warm_up()
        except Exception as error:
            _logger.exception("warm_up_failed")
            outcome = LoadFailed(WARM_UP_FAILED, f"{type(error).__name__}: {error}")
        writer.send(outcome)
        if isinstance(outcome, LoadFailed):
            await writer.drain()
            end_group()
        async with asyncio.TaskGroup() as tasks:
            while True:  # ends with the front, whose end also ends this process
                for command in await read_frame(reader, COMMANDS):
                    self._handle(command, writer, tasks)

    async def _warm_up(self) -> Ready | LoadFailed:
        end_id = self._manager.tokenizer.eos_token_id
        if isinstance(end_id, int) and end_id >= self._model.vocabulary.size:
            # With min_tokens the scheduler would bar this id, and crash.
            return LoadFailed(
                f"the tokenizer ends answers with id {end_id}, and the model's vocabulary has "
                f"{self._model.vocabulary.size}: it belongs to another model"
            )
        failures: list[Failed] = []

        def listen(message: Message) -> None:
            if isinstance(message, Failed):
                failures.append(message)

        first_id = self._renderer.any_token_id
        await Generation(
            EngineRequest(
                uuid.uuid4().hex,
                RenderedPrompt(TokenIds.of([first_id])),
                SamplingParams(temperature=0.0, top_p=1.0, max_tokens=1),
            ),
            self._model,
            listen,
        ).run()
        if failures:
            return LoadFailed(WARM_UP_FAILED, failures[0].detail or failures[0].message)
        if self._renderer.has_chat:
            await self._eye.try_out(self._renderer.render)
        # As SGLang's own server does: each full garbage collection of its scheduler would look
        # through all that was loaded, and stop every stream for that time.
        await self._manager.freeze_gc()
        return Ready(
            describe_model(
                self._engine,
                await self._manager.get_loads(),
                self._begin,
                has_chat=self._renderer.has_chat,
                has_fim=self._renderer.has_fim,
                features=self._renderer.features,
                can_see=self._eye.can_see,
            ),
            count_pool_tokens(self._engine),
        )

    def _handle(self, command: Command, writer: FrameWriter, tasks: asyncio.TaskGroup) -> None:
        match command:
            case Generate():
                request = command.request
                generation = Generation(request, self._model, writer.send)
                # Now, not in the task: its abort may lie in this very frame.
                self._generations[request.request_id] = generation
                tasks.create_task(self._generate(request.request_id, generation))
            case Abort():
                running = self._generations.get(command.request_id)
                if running is not None:
                    running.abort()
            case AskStatus() | AskSteps() | AskMetrics():
                tasks.create_task(self._report(command, writer))
            case Render() | Tokenize() | Detokenize():
                tasks.create_task(self._render(command, writer))
            case Begin():
                raise TypeError("the model is already loaded")

    async def _generate(self, request_id: str, generation: Generation) -> None:
        try:
            await generation.run()
        finally:
            del self._generations[request_id]

    async def _render(self, command: Render | Tokenize | Detokenize, writer: FrameWriter) -> None:
        loop = asyncio.get_running_loop()
        query_id = command.query_id
        try:
            answer = await loop.run_in_executor(self._threads, self._answer, command)
            if isinstance(answer, Rendered) and answer.prompt.images:
                answer = Rendered(query_id, await self._eye.count(answer.prompt))
        except InvalidRequest as error:
            ((field, description),) = error.violations
            writer.send(Refused(query_id, field, description))
        except Exception:
            _logger.exception("render_failed")
            writer.send(Broken(query_id, "the engine could not render the prompt"))
        else:
            writer.send(answer)

    def _answer(
        self, command: Render | Tokenize | Detokenize
    ) -> Rendered | Tokenized | Detokenized:
        query_id = command.query_id
        match command:
            case Render(prompt=prompt):
                return Rendered(query_id, self._renderer.render(prompt))
            case Tokenize(text=text):
                return Tokenized(query_id, self._tokenizer.tokenize(text))
            case Detokenize(token_ids=token_ids):
                return Detokenized(query_id, self._tokenizer.detokenize(token_ids))

    async def _report(
        self, question: AskStatus | AskSteps | AskMetrics, writer: FrameWriter
    ) -> None:
        writer.send(await self._reports.answer(question))


def _process_title(pid: int | None) -> str:
    """Reads what a process calls itself: SGLang names its own `sglang::scheduler` and so on."""
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    words = title.replace(b"\0", b" ").decode(errors="replace").split()
    return words[0] if words and words[0].startswith("sglang") else ""


def _end_ids(manager: Any) -> set[int]:  # SGLang has no types
    ids = set(manager.model_config.hf_eos_token_id or ())
    ids |= set(getattr(manager.tokenizer, "additional_stop_token_ids", None) or ())
    return {
        token_id
        for token_id in (*ids, manager.tokenizer.eos_token_id)
        if isinstance(token_id, int) and token_id >= 0
    }
