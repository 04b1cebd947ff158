"""Three fronts behind round_robin of the client, restarted one after another under load."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import pytest
from tokenwire.client import AsyncClient, Client
from tokenwire.server.app import ServerApp
from tokenwire.server.models.model_state import State

from ..server.fronts import make_config, wait_for_state
from ..server.scripted_engine import MODEL_ID, ScriptedLauncher
from .free_engine import FreeEngine

_NUM_FRONTS: Final = 3
_NUM_TOKENS: Final = 16
_WORKERS: Final = 12
# Answers that the others give while one of them is down, and while one loads its model.
_ANSWERS_BETWEEN: Final = 30


class _SlowEngine(FreeEngine):
    """Takes some turns of the loop for each token, so that restarts meet answers in the middle."""

    async def _take_token(self) -> BaseException | None:
        await asyncio.sleep(0.002)
        return await super()._take_token()


class _Front:
    """One front, on the same port after each restart."""

    def __init__(self) -> None:
        self.port = 0
        self._closing = AsyncExitStack()
        self._app: ServerApp | None = None
        self._launcher = ScriptedLauncher()

    async def start(self, *, is_loading: bool = False) -> None:
        """Starts it; `load` lets it load its model where `is_loading`."""
        self._launcher = ScriptedLauncher(_SlowEngine())
        if is_loading:
            self._launcher.gate.clear()
        config = make_config(LLM_GRPC_PORT=str(self.port), LLM_MAX_CONCURRENT_REQUESTS="64")
        self._app = await self._closing.enter_async_context(
            ServerApp(config, self._launcher.prepare)
        )
        self.port = self._app.port

    async def load(self) -> None:
        """Lets it load its model, and waits for that."""
        assert self._app is not None
        self._launcher.gate.set()
        await wait_for_state(self._app, State.SERVING)

    async def stop(self) -> None:
        """Ends it as SIGTERM does."""
        if self._app is not None:
            await self._app.drain()
            self._app = None
        await self._closing.aclose()


class _Answers:
    """Counts the answers that clients got, whole ones alone."""

    def __init__(self) -> None:
        self.number = 0
        self._change = asyncio.Condition()

    async def add(self, text: str) -> None:
        assert text == "".join(f"{number} " for number in range(_NUM_TOKENS))
        async with self._change:
            self.number += 1
            self._change.notify_all()

    async def wait_for_more(self, number: int) -> None:
        """Waits for so many more of them."""
        wanted = self.number + number
        async with asyncio.timeout(60), self._change:
            await self._change.wait_for(lambda: self.number >= wanted)


@asynccontextmanager
async def _fronts() -> AsyncGenerator[list[_Front]]:
    fronts = [_Front() for _ in range(_NUM_FRONTS)]
    loop = asyncio.get_running_loop()
    is_debug = loop.get_debug()
    loop.set_debug(False)
    try:
        for front in fronts:
            await front.start()
            await front.load()
        yield fronts
    finally:
        loop.set_debug(is_debug)
        for front in fronts:
            await front.stop()


def _target(fronts: list[_Front]) -> str:
    return "ipv4:" + ",".join(f"127.0.0.1:{front.port}" for front in fronts)


async def _restart_in_turn(fronts: list[_Front], answers: _Answers, num_rounds: int) -> None:
    for _ in range(num_rounds):
        for front in fronts:
            await answers.wait_for_more(_ANSWERS_BETWEEN)
            await front.stop()
            await answers.wait_for_more(_ANSWERS_BETWEEN)
            await front.start(is_loading=True)
            await answers.wait_for_more(_ANSWERS_BETWEEN)
            await front.load()
    await answers.wait_for_more(_ANSWERS_BETWEEN)


async def _roll(num_rounds: int) -> None:
    """Restarts the fronts in turn, while clients with asyncio and with threads ask them."""
    answers = _Answers()
    is_over = asyncio.Event()
    async with _fronts() as fronts:
        target = _target(fronts)

        async def ask(client: AsyncClient) -> None:
            while not is_over.is_set():
                stream = client.generate("two words", max_tokens=_NUM_TOKENS)
                try:
                    await answers.add((await stream.answer()).text)
                except asyncio.CancelledError as error:
                    # Of a task that nobody cancelled: a group would not call it a failure.
                    assert is_over.is_set(), "the server's end cancelled a caller"
                    raise error from None

        async def ask_in_thread(client: Client) -> None:
            while not is_over.is_set():
                stream = client.chat("two words", max_tokens=_NUM_TOKENS)
                await answers.add((await asyncio.to_thread(stream.answer)).text)

        with Client(target, model=MODEL_ID) as blocking:
            async with AsyncClient(target, model=MODEL_ID) as client, asyncio.TaskGroup() as group:
                for _ in range(_WORKERS):
                    group.create_task(ask(client))
                for _ in range(4):
                    group.create_task(ask_in_thread(blocking))
                await _restart_in_turn(fronts, answers, num_rounds)
                is_over.set()


async def test_restart_of_each_front() -> None:
    """Every front is restarted once, and loads its model again: no request fails."""
    await _roll(1)


@pytest.mark.faults
async def test_restarts_again_and_again() -> None:
    """The same, ten times."""
    await _roll(10)
