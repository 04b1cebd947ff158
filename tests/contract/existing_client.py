"""Reading of streams as the existing clients do it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import aiohttp


@dataclass
class Read:
    """What an existing client makes of a stream: the text, an error, and what it warns of."""

    text: str = ""
    error: str | None = None
    num_deltas: int = 0
    events: list[Any] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


async def read_as_existing_client(
    response: aiohttp.ClientResponse, key: str = "content", read: Read | None = None
) -> Read:
    """Reads line by line, takes lines that begin with `data: `, and of their JSON the strings.

    Stops at the first `error`, as those clients do. `read` may be looked into meanwhile.
    """
    read = read or Read()
    async for raw in response.content:
        line = raw.decode().rstrip("\r\n")
        if not line.startswith("data: "):
            continue
        try:
            event = json.loads(line.removeprefix("data: "))
        except ValueError:
            read.warnings.append(line)
            continue
        read.events.append(event)
        if isinstance(event.get("error"), str):
            read.error = event["error"]
            break
        if isinstance(event.get(key), str):
            read.text += event[key]
            read.num_deltas += 1
    return read
