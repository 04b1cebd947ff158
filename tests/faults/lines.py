"""Connections that a test cuts: a relay before a port, with everything on it in one hand."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER without a wait: closing sends RST


class Line:
    """Relays connections to a port; `cut` breaks all that are open, at both ends."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.port = 0
        self.num_cuts = 0
        self.last_cut_s = -math.inf
        self._writers = set[asyncio.StreamWriter]()

    def cut(self) -> None:
        """Resets every connection; the next ones are taken again."""
        self.num_cuts += 1
        self.last_cut_s = time.monotonic()
        for writer in list(self._writers):
            opened: socket.socket | None = writer.get_extra_info("socket")
            if opened is not None:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carries one connection until either end closes it."""
        try:
            onward = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.transport.abort()
            return
        writers = {writer, onward[1]}
        self._writers |= writers
        try:
            # The first end of either way ends both: no half of a connection stays.
            copies = [
                asyncio.ensure_future(_copy(reader, onward[1])),
                asyncio.ensure_future(_copy(onward[0], writer)),
            ]
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
            for copy in copies:
                copy.cancel()
            await asyncio.gather(*copies, return_exceptions=True)
        finally:
            self._writers -= writers
            for each in writers:
                each.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass


@asynccontextmanager
async def line_to(port: int) -> AsyncIterator[Line]:
    """Relays a free port to `port`."""
    line = Line(port)
    async with await asyncio.start_server(line.relay, "127.0.0.1", 0, backlog=1024) as server:
        line.port = server.sockets[0].getsockname()[1]
        try:
            yield line
        finally:
            line.cut()
