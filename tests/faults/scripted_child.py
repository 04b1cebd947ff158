"""An engine in a process of its own, which can be killed: `python -m tests.faults.scripted_child`.

It says numbered tokens at a pace, each with the name of its stream. A connection is a request: one
line of JSON, answered with a line for each token; closing it aborts. It ends with its standard
input, and is killed with its parent: one that is stopped reads nothing.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys

from .numbered import token_text

POISON = "poison"
"""A stream of this name kills whatever computes it."""

_KILLS_AT = 3
_PR_SET_PDEATHSIG = 1


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says the tokens of one request; those that were said before come without a pause."""
    try:
        asked = json.loads(await reader.readline())
        left = asyncio.ensure_future(reader.read())
        for number in range(asked["num_tokens"]):
            if number >= asked["num_earlier"]:
                await asyncio.wait({left}, timeout=asked["pace_s"])
            if left.done():
                break
            if asked["stream"].startswith(POISON) and number == _KILLS_AT:
                os._exit(1)
            writer.write(json.dumps(token_text(asked["stream"], number)).encode() + b"\n")
            await writer.drain()
        left.cancel()
    except (ConnectionError, ValueError):
        pass  # it left
    finally:
        writer.close()


async def main(path: str) -> None:
    """Serves at a Unix socket until the parent is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    loop = asyncio.get_running_loop()
    stdin = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    async with await asyncio.start_unix_server(answer, path, backlog=1024):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await stdin.read()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
