"""HTTP by hand, for what no client library would send."""

from __future__ import annotations

import asyncio
import json
from typing import Any

GUARD_S = 45.0


async def exchange(port: int, data: bytes) -> tuple[int, dict[str, str], Any]:
    """Sends bytes and returns status, headers and JSON of the answer, once the server hung up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        async with asyncio.timeout(GUARD_S):
            answer = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    status_line, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(status_line.split()[1]), headers, json.loads(body)
