"""A reader of streams that does what a browser's EventSource does."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import aiohttp

_MAX_REQUESTS = 1_000


@dataclass
class EventSource:
    """Reads `path`, and comes back by itself behind the last id, until it is told to stop.

    `data` is what its events held. As the HTML standard has it: an event without its empty line is
    no event, an id counts with its event, and any status but 200 ends it.
    """

    path: str
    data: list[Any] = field(default_factory=list[Any])
    last_id: str = ""
    num_requests: int = 0
    status: int = 0
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, base: str) -> None:
        """Reads until it may not come back."""
        while self.num_requests < _MAX_REQUESTS:
            self.num_requests += 1
            headers = {"Last-Event-ID": self.last_id} if self.last_id else {}
            try:
                # A connection of its own for each request, as cuts leave none.
                async with (
                    aiohttp.ClientSession(base) as http,
                    http.get(self.path, headers=headers) as response,
                ):
                    self.status = response.status
                    if response.status != 200:
                        return
                    self.opened.set()
                    await self.read(response)
            except aiohttp.ClientError:
                continue
        raise AssertionError("it came back for ever")

    async def read(self, response: aiohttp.ClientResponse) -> None:
        """Reads one answer to its end."""
        event_id, data = self.last_id, ""
        async for line in response.content:
            if not line.endswith(b"\n"):
                return  # cut
            text = line.decode().rstrip("\n")
            name, _, value = text.partition(":")
            value = value.removeprefix(" ")
            if not text:
                self.last_id = event_id
                if data:
                    self.data.append(json.loads(data))
                data = ""
            elif name == "id":
                event_id = value
            elif name == "data":
                data = value
