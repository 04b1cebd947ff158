"""A front that a test may kill: `python -m tests.faults.front_process`, set by its environment.

It tells its ports, and then, for each line that it is sent, how many tasks it has. It ends with its
standard input.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys

import uvloop
from tokenwire.environment import load
from tokenwire.logs.standard_error import StandardError
from tokenwire.server.app import ServerApp
from tokenwire.server.machine.c_allocator import limit_arenas
from tokenwire.server.models import engine_keeper
from tokenwire.server.preparation.kits import config_class

from .child_engine import ChildLauncher

# Deaths on demand come more often than those that the pauses between restarts are for.
engine_keeper._RESTART_DELAYS_S = (0.0,) * 1000

PACE = "TEST_PACE_S"
"""Seconds for each token of the scripted child; unset: the engine that the settings choose."""


async def main() -> None:
    """Serves until the parent is gone."""
    limit_arenas()
    stderr = StandardError()
    config = load(config_class())
    stderr.log(config)
    pace = os.environ.get(PACE)
    prepare = ChildLauncher(float(pace), config.max_concurrent_requests).prepare if pace else None
    loop = asyncio.get_running_loop()
    stdin = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    async with ServerApp(config, prepare) as app:
        _tell({"port": app.port, "metrics_port": app.metrics_port})
        while await stdin.readline():
            gc.collect()
            _tell({"tasks": len(asyncio.all_tasks())})


def _tell(values: dict[str, int]) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main())
