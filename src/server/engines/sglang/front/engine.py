"""A running SGLang as the front sees it."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Final, TypeVar

from ....contract.engine import EngineRequest, EngineStatus, ModelInfo, StepCount
from ....contract.errors import EngineLost, GenerationFailed, InvalidRequest
from ....contract.events import EngineEvent, Finished
from ....contract.prompts import PlainText, Prompt, RenderedPrompt, TokenizedText
from ....contract.token_ids import TokenIds
from ..frames import FrameError, FrameWriter, read_frame
from ..messages import (
    REPORTS,
    Abort,
    AskMetrics,
    AskStatus,
    AskSteps,
    Broken,
    Command,
    Detokenize,
    Detokenized,
    EngineDead,
    Event,
    Failed,
    Generate,
    MetricsReported,
    Ready,
    Refused,
    Released,
    Render,
    Rendered,
    Report,
    StatusReported,
    StepsReported,
    Tokenize,
    Tokenized,
)
from .event_stream import EventStream
from .host_process import HostProcess

_logger = logging.getLogger(__name__)

RELEASE_S: Final = 10.0

AnswerT = TypeVar("AnswerT")


class SglangEngine:
    """One model in a host process of its own."""

    def __init__(
        self,
        host: HostProcess,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        ready: Ready,
    ) -> None:
        self._host = host
        self._reader = reader
        self._stream_writer = writer
        self._writer = FrameWriter(writer)
        self._ready = ready
        self._query_ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Report]] = {}
        self._streams: dict[str, EventStream] = {}
        self._why_lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._listening = asyncio.create_task(self._listen(), name="sglang-frames")

    @property
    def info(self) -> ModelInfo:
        """The loaded model."""
        return self._ready.info

    @property
    def num_pool_tokens(self) -> int:
        """Tokens of KV cache that each copy of the model has."""
        return self._ready.num_pool_tokens

    @property
    def pid(self) -> int:
        """The process id of the host, which is also the id of its process group."""
        return self._host.pid

    async def render(self, prompt: Prompt) -> RenderedPrompt:
        """Applies template and tokenizer in the host."""
        match await self._ask(lambda query_id: Render(query_id, prompt)):
            case Rendered(prompt=rendered):
                return rendered
            case Refused(field=field, description=description):
                raise InvalidRequest(field, description)
            case answer:
                raise _unexpected(answer)

    async def tokenize(self, text: PlainText) -> TokenizedText:
        """Applies the tokenizer in the host."""
        match await self._ask(lambda query_id: Tokenize(query_id, text)):
            case Tokenized(text=tokenized):
                return tokenized
            case answer:
                raise _unexpected(answer)

    async def detokenize(self, token_ids: TokenIds) -> bytes:
        """Asks the host what tokens stand for."""
        match await self._ask(lambda query_id: Detokenize(query_id, token_ids)):
            case Detokenized(data=data):
                return data
            case Refused(field=field, description=description):
                raise InvalidRequest(field, description)
            case answer:
                raise _unexpected(answer)

    async def generate(self, request: EngineRequest) -> AsyncGenerator[EngineEvent]:
        """Runs one request; closing aborts it and waits until the scheduler let go."""
        self._check_alive()
        stream = EventStream()
        self._streams[request.request_id] = stream
        self._writer.send(Generate(request))
        try:
            while True:  # ends with the engine at the latest
                event = await stream.take()
                yield event
                if isinstance(event, Finished):
                    return
        finally:
            await self._let_go(request.request_id, stream)

    async def status(self) -> EngineStatus:
        """Asks for the scheduler's own count."""
        match await self._ask(AskStatus):
            case StatusReported(status=status):
                return status
            case answer:
                raise _unexpected(answer)

    async def count_steps(self) -> StepCount:
        """Asks how far the scheduler has come."""
        match await self._ask(AskSteps):
            case StepsReported(steps=steps):
                return steps
            case answer:
                raise _unexpected(answer)

    async def read_metrics(self) -> str:
        """Asks for SGLang's own series."""
        match await self._ask(AskMetrics):
            case MetricsReported(text=text):
                return text
            case answer:
                raise _unexpected(answer)

    async def wait_lost(self) -> str:
        """Returns why, once the host or a process of SGLang is dead."""
        return await asyncio.shield(self._why_lost)

    async def close(self) -> None:
        """Ends the host's process group."""
        self._lose("the engine was closed")
        await self._host.end()
        await asyncio.wait({self._listening})
        self._stream_writer.close()

    async def _ask(self, command: Callable[[int], Command]) -> Report:
        """Sends a command and waits for its answer, as long as the engine lives."""
        self._check_alive()
        query_id = next(self._query_ids)
        answer: asyncio.Future[Report] = asyncio.get_running_loop().create_future()
        self._answers[query_id] = answer
        self._writer.send(command(query_id))
        try:
            return await answer
        finally:
            del self._answers[query_id]

    async def _let_go(self, request_id: str, stream: EventStream) -> None:
        if not stream.has_ended:
            self._writer.send(Abort(request_id))
        try:
            async with asyncio.timeout(RELEASE_S):
                await stream.released.wait()
        except TimeoutError:
            # One long step, of a busy CPU mostly. The host still waits for the scheduler, whose own
            # watchdog ends it where the step never ends.
            _logger.warning("request_still_held", extra={"request_id": request_id, "s": RELEASE_S})
        finally:
            del self._streams[request_id]

    async def _listen(self) -> None:
        why = "the engine's host ended"
        try:
            while True:  # ends with the host
                for report in await read_frame(self._reader, REPORTS):
                    self._take(report)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except FrameError as error:
            why = "the engine's host could not be understood"
            _logger.error("host_not_understood", extra={"error": str(error)})
        finally:
            self._lose(why)

    def _take(self, report: Report) -> None:
        match report:
            case (
                Rendered()
                | Tokenized()
                | Detokenized()
                | Refused()
                | Broken()
                | StatusReported()
                | StepsReported()
                | MetricsReported()
            ):
                answer = self._answers.get(report.query_id)
                if answer is not None and not answer.done():
                    answer.set_result(report)
            case Event() | Failed() | Released():
                stream = self._streams.get(report.request_id)
                if stream is not None:
                    _put(stream, report)
            case EngineDead():
                self._lose(report.reason)
            case _:
                _logger.warning("unexpected_report", extra={"report": type(report).__name__})

    def _check_alive(self) -> None:
        if self._why_lost.done():
            raise EngineLost

    def _lose(self, why: str) -> None:
        """Fails everything that waits for the engine, now."""
        if not self._why_lost.done():
            said = self._host.output.last_error()
            _logger.info("host_lost", extra={"reason": why, "engine_said": said})
            self._why_lost.set_result(why)
        for stream in self._streams.values():
            stream.fail(EngineLost())
            stream.released.set()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(EngineLost())


def _put(stream: EventStream, report: Event | Failed | Released) -> None:
    match report:
        case Event(event=event):
            stream.put(event)
        case Failed(message=message, detail=detail):
            stream.fail(GenerationFailed(message, detail=detail))
        case Released():
            stream.released.set()


def _unexpected(answer: Report) -> GenerationFailed:
    if isinstance(answer, Broken):
        return GenerationFailed(answer.message)
    return GenerationFailed(f"the engine's host answered with {type(answer).__name__}")
