"""What the kernel does with a connection that we write to."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import cast

# More of an answer stays in the process, where it is seen that nobody reads it. The kernel would
# take 4 MB, and go on with it when the connection is long closed here.
_MAX_UNSENT_BYTES = 64 * 1024
_RESET = struct.pack("ii", 1, 0)  # struct linger: on, for no time


def bound_unsent(transport: asyncio.Transport, timeout_s: float) -> None:
    """Has the kernel hold little, and give up a client that takes none of it for `timeout_s`."""
    options = {"TCP_NOTSENT_LOWAT": _MAX_UNSENT_BYTES, "TCP_USER_TIMEOUT": int(timeout_s * 1000)}
    for name, value in options.items():
        if hasattr(socket, name):  # the second one is Linux's own
            _socket(transport).setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def reset(transport: asyncio.Transport) -> None:
    """Ends a connection at once; what is buffered, here or in the kernel, is dropped."""
    _socket(transport).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


def _socket(transport: asyncio.Transport) -> socket.socket:
    return cast("socket.socket", transport.get_extra_info("socket"))
