"""A TCP proxy that cuts connections where a test wants it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from .server.scripted_engine import ScriptedEngine

NEVER = 1 << 62


class CuttingProxy:
    """Passes bytes on to a port of this machine, and cuts.

    `next_cut` says, for each connection as it is made, behind how many bytes of the server's it is
    cut: in the middle of whatever is sent then. `has_passed` is set by whatever comes from there.
    """

    def __init__(self, target_port: int, next_cut: Callable[[], int]) -> None:
        self.target_port = target_port
        self.next_cut = next_cut
        self.num_connections = 0
        self.num_cuts = 0
        self.has_passed = asyncio.Event()
        self.port = 0
        self._open: set[asyncio.StreamWriter] = set()

    def cut_all(self) -> None:
        """Cuts every connection that there is."""
        for writer in list(self._open):
            self.num_cuts += 1
            writer.transport.abort()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[CuttingProxy]:
        """Listens for the body's time."""
        loop = asyncio.get_running_loop()
        serving: dict[asyncio.Task[None], socket.socket] = {}
        with socket.create_server(("127.0.0.1", self.port)) as listener:
            listener.setblocking(False)
            self.port = listener.getsockname()[1]

            # By hand: a server of asyncio loses connections that come while it is closed.
            def accept() -> None:
                accepted, _ = listener.accept()
                serving[asyncio.create_task(self._serve(accepted))] = accepted

            loop.add_reader(listener, accept)
            try:
                yield self
            finally:
                loop.remove_reader(listener)
                for task in serving:
                    task.cancel()
                await asyncio.gather(*serving, return_exceptions=True)
                for accepted in serving.values():
                    accepted.close()
                await asyncio.sleep(0)  # in which aborted connections are closed

    async def _serve(self, accepted: socket.socket) -> None:
        self.num_connections += 1
        num_left = self.next_cut()
        ends: list[asyncio.StreamWriter] = []
        try:
            with accepted:
                accepted.setblocking(False)
                reader, writer = await asyncio.open_connection(sock=accepted.dup())
            ends.append(writer)
            self._open.add(writer)
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
            ends.append(up_writer)
            async with asyncio.TaskGroup() as tasks:
                up = tasks.create_task(_pass(reader, up_writer, NEVER, asyncio.Event()))
                down = tasks.create_task(_pass(up_reader, writer, num_left, self.has_passed))
                await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
                self.num_cuts += down.done() and down.result()
                for end in ends:
                    end.transport.abort()
        except OSError:
            pass  # nobody listens
        finally:
            for end in ends:
                self._open.discard(end)
                end.transport.abort()


async def _pass(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    num_left: int,
    has_passed: asyncio.Event,
) -> bool:
    """Passes bytes on, so many at most; whether there were more."""
    try:
        while data := await reader.read(1 << 16):
            has_passed.set()
            writer.write(data[:num_left])
            await writer.drain()
            num_left -= len(data)
            if num_left < 0:
                return True
    except ConnectionError:
        pass
    return False


async def pace(engine: ScriptedEngine, proxy: CuttingProxy, num_tokens: int) -> None:
    """Lets a token out each time that something came since the one before.

    So no more of them come together behind a cut on a slow machine than on a fast one, and as many
    cuts find something to cut. Cancelled by whoever has the whole answer.
    """
    for _ in range(num_tokens):
        proxy.has_passed.clear()
        engine.allow(1)
        await proxy.has_passed.wait()
