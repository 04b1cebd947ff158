"""The engine that runs in `scripted_child.py`, for a front: a real process, which can be killed."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from typing import Any

from tokenwire.private_folders import PrivateFolder
from tokenwire.server.contract import engine as contract
from tokenwire.server.contract.engine import (
    Capabilities,
    EngineRequest,
    EngineStatus,
    ModelInfo,
)
from tokenwire.server.contract.errors import EngineLost
from tokenwire.server.contract.events import (
    ChoiceFinished,
    EngineEvent,
    Finished,
    FinishReason,
    Started,
    TextDelta,
)
from tokenwire.server.contract.load_progress import ReportProgress
from tokenwire.server.contract.prompts import (
    ChatPrompt,
    PlainText,
    Prompt,
    RenderedPrompt,
    TextPrompt,
    TokenizedText,
)
from tokenwire.server.contract.token_ids import TokenIds
from tokenwire.server.models.model_state import PreparedModel


class ChildEngine:
    """Asks its child for the tokens of each request, whose prompt is the name of the stream."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        folder: PrivateFolder,
        pace_s: float,
        max_running: int,
    ) -> None:
        self._process = process
        self._folder = folder
        self._socket = folder.path / "engine.sock"
        self._pace_s = pace_s
        self._num_running = 0
        self._num_steps = 0
        self._died = asyncio.create_task(self._process.wait(), name="child")
        self.info = ModelInfo(
            engine="scripted child 1",
            device="cpu",
            num_parameters=1,
            format="none",
            quantization="none",
            kv_cache_dtype="none",
            context_length=4096,
            vocab_size=1 << 16,
            max_running=max_running,
            capabilities=Capabilities(
                chat=True,
                fill_in_the_middle=False,
                seeds=True,
                token_ids=True,
                min_tokens=False,
                stop_token_ids=True,
            ),
        )

    async def render(self, prompt: Prompt) -> RenderedPrompt:
        match prompt:
            case ChatPrompt():
                text = prompt.messages[-1].content
            case TextPrompt():
                text = prompt.text
            case _:
                raise AssertionError("no other prompt is sent")
        self._check()
        return RenderedPrompt(TokenIds.of([*text.encode()]))

    async def tokenize(self, text: PlainText) -> TokenizedText:
        self._check()
        return TokenizedText(TokenIds.of([*text.text.encode()]))

    async def detokenize(self, token_ids: TokenIds) -> bytes:
        self._check()
        return bytes(token_ids)

    async def generate(self, request: EngineRequest) -> AsyncGenerator[EngineEvent]:
        self._check()
        earlier = request.earlier_of(0) if hasattr(request, "earlier_of") else None
        num_tokens = request.params.max_tokens
        asked = {
            "stream": bytes(request.prompt.token_ids).decode(),
            "num_tokens": num_tokens,
            "num_earlier": len(earlier.token_ids) if earlier else 0,
            "pace_s": self._pace_s,
        }
        self._num_running += 1
        writer = None
        try:
            reader, writer = await asyncio.open_unix_connection(self._socket)
            writer.write(json.dumps(asked).encode() + b"\n")
            for number in range(num_tokens):
                line = await reader.readline()
                if not line.endswith(b"\n"):
                    raise EngineLost
                self._num_steps += 1
                if number == 0:
                    yield Started(0)
                yield TextDelta(json.loads(line), 1, (number,))
            yield ChoiceFinished(FinishReason.LENGTH)
            yield Finished(num_tokens, 0)
        except OSError as error:
            raise EngineLost from error
        finally:
            self._num_running -= 1
            if writer is not None:
                writer.close()

    async def status(self) -> EngineStatus:
        self._check()
        return EngineStatus(self._num_running, 0, None)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def count_steps(self) -> Any:
        self._check()
        return contract.StepCount(self._num_steps)

    async def read_metrics(self) -> str:
        self._check()
        return ""

    async def wait_lost(self) -> str:
        return f"it ended with {await asyncio.shield(self._died)}"

    async def close(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._died
        self._folder.remove()

    def _check(self) -> None:
        if self._died.done():
            raise EngineLost


class ChildLauncher:
    """Starts children, as fast as a process starts."""

    def __init__(self, pace_s: float, max_running: int) -> None:
        self._pace_s = pace_s
        self._max_running = max_running

    async def launch(self, report: ReportProgress) -> ChildEngine:  # noqa: ARG002
        folder = PrivateFolder.make("test-")  # swept where this process is killed
        process = await asyncio.create_subprocess_exec(
            *(
                sys.executable,
                "-m",
                "tests.faults.scripted_child",
                str(folder.path / "engine.sock"),
            ),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # as engines have one: it is watched as a group
        )
        engine = ChildEngine(process, folder, self._pace_s, self._max_running)
        assert process.stdout is not None
        await process.stdout.readline()  # it listens, or is dead, which is noticed at once
        return engine

    async def prepare(self, model_id: str, report: ReportProgress) -> PreparedModel:  # noqa: ARG002
        return PreparedModel(self, "revision-1")
