"""An engine that several fronts may have one after another, and that notes what reaches it."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from tokenwire.server.contract.engine import (
    Engine,
    EngineRequest,
    EngineStatus,
    ModelInfo,
    StepCount,
)
from tokenwire.server.contract.events import EngineEvent
from tokenwire.server.contract.load_progress import ReportProgress
from tokenwire.server.contract.prompts import PlainText, Prompt, RenderedPrompt, TokenizedText
from tokenwire.server.contract.token_ids import TokenIds
from tokenwire.server.models.model_state import PreparedModel


class LentEngine:
    """Passes everything on but `close`; `requests` are what was to be generated."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.requests: list[EngineRequest] = []

    @property
    def info(self) -> ModelInfo:
        return self._engine.info

    @property
    def pid(self) -> int:
        return self._engine.pid

    async def render(self, prompt: Prompt) -> RenderedPrompt:
        return await self._engine.render(prompt)

    async def tokenize(self, text: PlainText) -> TokenizedText:
        return await self._engine.tokenize(text)

    async def detokenize(self, token_ids: TokenIds) -> bytes:
        return await self._engine.detokenize(token_ids)

    def generate(self, request: EngineRequest) -> AsyncGenerator[EngineEvent]:
        self.requests.append(request)
        return self._engine.generate(request)

    async def status(self) -> EngineStatus:
        return await self._engine.status()

    async def count_steps(self) -> StepCount:
        return await self._engine.count_steps()

    async def read_metrics(self) -> str:
        return await self._engine.read_metrics()

    async def wait_lost(self) -> str:
        return await self._engine.wait_lost()

    async def close(self) -> None:
        """Does nothing: the lender closes it."""

    async def launch(self, report: ReportProgress) -> Engine:  # noqa: ARG002
        return self

    async def prepare(self, model_id: str, report: ReportProgress) -> PreparedModel:  # noqa: ARG002
        return PreparedModel(self)
