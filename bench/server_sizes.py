"""What the process of a server holds, and what its gauges say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from paced_servers import HOST, Server

# Of the process, not of what it is asked: they are looked at in other ways.
_OF_PROCESS = ("process_", "python_", "llm_build_info")


@dataclass(frozen=True, slots=True)
class Size:
    """What a process holds."""

    resident_mb: float
    num_files: int
    num_threads: int
    num_tasks: int

    @classmethod
    def of(cls, server: Server) -> Size:
        """Looks at the process, and asks it for its tasks."""
        proc = Path(f"/proc/{server.pid}")
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        return cls(
            int(status["VmRSS"].split()[0]) / 1024,
            len(list((proc / "fd").iterdir())),
            int(status["Threads"]),
            server.num_tasks(),
        )

    def __str__(self) -> str:
        return (
            f"{self.resident_mb:.1f} MB, {self.num_files} files, {self.num_threads} threads, "
            f"{self.num_tasks} tasks"
        )


async def read_gauges(server: Server, http: aiohttp.ClientSession) -> dict[str, float]:
    """Reads what a server tells of the present, by series, without what is about its process."""
    async with http.get(f"http://{HOST}:{server.metrics_port}/metrics") as response:
        page = await response.text()
    names = set(re.findall(r"^# TYPE (\S+) gauge$", page, re.MULTILINE))
    samples = (line.rpartition(" ") for line in page.splitlines() if line[:1] != "#")
    return {
        series: float(value)
        for series, _, value in samples
        if series.partition("{")[0] in names and not series.startswith(_OF_PROCESS)
    }
