"""How a process of the service learns that it should end, and how it waits for that."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_FORCE_EXIT_STATUS = 1
# The exit status of a command that Ctrl-C ended, as shells give it.
EXIT_INTERRUPTED = 130


class Shutdown:
    """What the operator asked for: the first signal drains, the second one forces."""

    def __init__(self) -> None:
        self.draining = asyncio.Event()
        self.forced = asyncio.Event()

    def request(self) -> None:
        """Asks for a drain at the first call, and for the end by force at the second one."""
        if self.draining.is_set():
            self.forced.set()
        self.draining.set()


@contextmanager
def shutdown_signals() -> Generator[Shutdown]:
    """Turns SIGTERM and SIGINT of this process into a `Shutdown`, until the block ends."""
    shutdown = Shutdown()
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, shutdown.request)
    try:
        yield shutdown
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)


async def wait_first(*waits: Awaitable[object], timeout_s: float | None = None) -> None:
    """Returns once one of `waits` is over, or after `timeout_s` seconds, and cancels the others.

    Whoever wants to know which one it was looks at its result afterwards:

        idle = asyncio.ensure_future(in_flight.wait_idle())
        await wait_first(idle, shutdown.forced.wait(), timeout_s=60)
        if idle.cancelled(): ...
    """
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end_tasks(*tasks)


async def end_tasks(*tasks: asyncio.Future[Any]) -> None:
    """Cancels tasks, and returns once all of them have ended, in whichever way."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def running_beside(work: Coroutine[Any, Any, object], name: str) -> AsyncGenerator[None]:
    """Runs `work` in a task of this name beside the body, and no longer."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        await end_tasks(task)


def end_with_parent(parent_pipe: int, drain_timeout_s: float) -> threading.Event:
    """Ends this process when the other end of `parent_pipe` closes, which its parent holds.

    A thread sends this process SIGTERM; it leaves by force where it has not ended
    `drain_timeout_s` later. That works at every moment, also before signal handlers stand.
    Returns what is set once the parent has ended.
    """
    has_ended = threading.Event()

    def watch() -> None:
        while True:
            try:
                if not os.read(parent_pipe, 4096):
                    break
            except OSError:
                break
        has_ended.set()
        os.kill(os.getpid(), signal.SIGTERM)
        if not threading.Event().wait(drain_timeout_s):
            os._exit(_FORCE_EXIT_STATUS)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
    return has_ended
