"""A real Prometheus, of the Debian package of that name."""

from __future__ import annotations

import asyncio
import math
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ..surroundings import free_port

needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")),
    reason="the Debian package prometheus is not installed",
)
CONFIG = """\
global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}
scrape_configs:
  - job_name: llm-inference-api
    static_configs: [{{targets: ["{target}"]}}]
"""
POLL_S = 0.25
GUARD_S = 45.0


@dataclass(frozen=True)
class Prometheus:
    """A client of one that runs."""

    http: aiohttp.ClientSession

    async def query(self, expression: str) -> list[float]:
        """The values of what an expression gives now."""
        return [float(each["value"][1]) for each in await self._get("query", expression)]

    async def exemplars(self, expression: str) -> list[dict[str, str]]:
        """The labels of the exemplars of series."""
        found = await self._get("query_exemplars", expression, start="0", end="9999999999")
        return [exemplar["labels"] for series in found for exemplar in series["exemplars"]]

    async def wait_for(self, expression: str) -> list[float]:
        """Returns what an expression gives once that is something.

        Also at the end nothing may be there for a moment: a scrape that takes too long empties all
        that comes from its target.
        """
        for _ in range(round(GUARD_S / POLL_S)):
            if values := await self.query(expression):
                return values
            await asyncio.sleep(POLL_S)  # polled: it tells nobody that it has scraped
        raise AssertionError(f"no data: {expression}")

    async def _get(self, kind: str, expression: str, **parameters: str) -> Any:
        parameters["query"] = expression
        async with self.http.get(f"/api/v1/{kind}", params=parameters) as response:
            answer = await response.json()
        assert answer["status"] == "success", f"{expression}: {answer}"
        data = answer["data"]
        return data["result"] if kind == "query" else data


@asynccontextmanager
async def scraping(target: str, folder: Path) -> AsyncGenerator[Prometheus]:
    """Runs a Prometheus that scrapes one target twice a second."""
    config = folder / "prometheus.yml"
    config.write_text(CONFIG.format(target=target))
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
        "--log.level=error",
    )
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
            async with asyncio.timeout(30):
                while not await is_ready(http):  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(POLL_S)
            yield Prometheus(http)
    finally:
        process.kill()
        await process.wait()


async def is_ready(http: aiohttp.ClientSession) -> bool:
    try:
        async with http.get("/-/ready") as response:
            return response.status == 200
    except aiohttp.ClientConnectionError:
        return False


async def promtool(*arguments: str, text: str = "") -> tuple[int, list[str]]:
    """Runs promtool; returns its status and its lines."""
    process = await asyncio.create_subprocess_exec(
        "promtool",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate(text.encode())
    assert process.returncode is not None
    return process.returncode, output.decode().splitlines()


def is_number(value: float) -> bool:
    return not math.isnan(value)
