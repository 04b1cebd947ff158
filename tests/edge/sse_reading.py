"""Reading of event streams as the existing clients do it."""

from __future__ import annotations

import json
from typing import Any

import aiohttp


async def read_events(response: aiohttp.ClientResponse) -> list[Any]:
    """Returns the data of every event: JSON where it is JSON, otherwise text."""
    return parse_events(await response.text())


def parse_events(transcript: str) -> list[Any]:
    """Splits a whole stream into the data of its events."""
    events = []
    for line in transcript.split("\n"):
        if line.startswith("data: "):
            data = line.removeprefix("data: ")
            events.append(data if data == "[DONE]" else json.loads(data))
        else:
            assert line == "", "only data lines and blank ones"
    return events
