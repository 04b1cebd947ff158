"""Each process of `tokenwire serve` is killed or stopped in mid-stream, alone and with others."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from tokenwire.private_folders import sweep

from ..certificates import PairFiles
from ..conftest import MODEL_ID
from ..surroundings import free_port
from .process_tree import descendants, wait_ended

GUARD_S = 180.0
SHARED_MEMORY = Path("/dev/shm")
BODY = {
    "model": MODEL_ID,
    "messages": [{"role": "user", "content": "Tell me a very long story."}],
    "max_tokens": 900,
    "temperature": 0,
}


@dataclass(frozen=True)
class Served:
    """A running `tokenwire serve` with llama.cpp, and who calls its edge."""

    process: asyncio.subprocess.Process
    http: aiohttp.ClientSession
    temporary: Path

    def find(self, victim: str) -> list[int]:
        """The process ids of a part of it, or of all."""
        processes = descendants(self.process.pid)
        if victim == "all":
            return list(processes)
        if victim == "supervisor":
            return [self.process.pid]
        word = "llama_cpp.child" if victim == "engine" else f"tokenwire {victim}"
        return [pid for pid, command in processes.items() if word in command]

    async def wait_ready(self) -> None:
        while True:
            try:
                async with self.http.get("/health/ready") as ready:
                    if ready.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)

    async def event(self, name: str, logger: str = "") -> None:
        """Reads the log up to an event."""
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            if line.startswith(b"{"):
                told = json.loads(line)
                if told["event"] == name and logger in told["logger"]:
                    return
        raise AssertionError("the logs ended")


@asynccontextmanager
async def serve(folder: Path, **variables: str) -> AsyncGenerator[Served]:
    temporary = folder / "temporary"
    temporary.mkdir()
    port = free_port()
    scheme = "https" if "SERVER_SSL_ENABLED" in variables else "http"
    environment = {
        **os.environ,
        "TMPDIR": str(temporary),
        "LLM_ALLOWED_MODELS": MODEL_ID,
        "LLM_ENGINE": "llamacpp",
        "LLM_MAX_MODEL_LEN": "1024",
        "LLM_NUM_THREADS": "1",
        "LLM_GRPC_PORT": str(free_port()),
        "LLM_INFERENCE_PORT": str(port),
        "LLM_METRICS_PORT": "0",
        "LLM_DRAIN_TIMEOUT_S": "1",
        "LOG_FORMAT": "json",
        **variables,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tokenwire", "serve"),
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        cwd=folder,
        limit=1 << 20,
    )
    try:
        async with (
            asyncio.timeout(GUARD_S),
            aiohttp.ClientSession(
                f"{scheme}://127.0.0.1:{port}", connector=aiohttp.TCPConnector(ssl=False)
            ) as http,
        ):
            served = Served(process, http, temporary)
            await served.wait_ready()
            yield served
    finally:
        for pid in descendants(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await process.wait()


@asynccontextmanager
async def running_stream(served: Served) -> AsyncGenerator[aiohttp.StreamReader]:
    """A stream that has said something."""
    async with served.http.post("/api/chat/stream", json=BODY) as response:
        assert response.status == 200
        await response.content.readline()
        yield response.content


def shared_memory() -> set[str]:
    """What lies there of kinds that engines make."""
    kinds = ("sglang_", "sem.mp-", "psm_", "torch_")
    return {path.name for path in SHARED_MEMORY.iterdir() if path.name.startswith(kinds)}


@pytest.mark.faults
@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("victim", ["engine", "server", "edge", "supervisor", "all"])
async def test_nothing_is_left_behind(tmp_path: Path, victim: str, *, tls: bool) -> None:
    """After kill -9 of any process, and the end of the rest, neither processes nor files stay.

    Where all were killed nobody is left to remove files: the next start does.
    """
    variables = PairFiles(tmp_path).variables() if tls else {}
    before = shared_memory()
    async with serve(tmp_path, **variables) as served:
        processes = descendants(served.process.pid)
        async with running_stream(served) as stream:
            victims = served.find(victim)
            assert victims
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
            if victim in ("server", "edge"):
                await served.event("child_died")
                processes |= descendants(served.process.pid)
            if victim in ("edge", "all"):
                with pytest.raises(aiohttp.ClientError):
                    await stream.read()
        if victim not in ("supervisor", "all"):
            await served.wait_ready()
            processes |= descendants(served.process.pid)
            served.process.terminate()
        await wait_ended(processes, GUARD_S)
        if victim == "all":
            sweep(served.temporary)
        assert list(served.temporary.iterdir()) == []
    assert shared_memory() - before == set()


@pytest.mark.faults
async def test_streams_of_a_killed_front_end_and_new_requests_work(tmp_path: Path) -> None:
    """The edge tells its streams, and calls the new front as soon as that listens."""
    async with serve(tmp_path) as served:
        async with running_stream(served) as stream:
            (front,) = served.find("server")
            os.kill(front, signal.SIGKILL)
            last = (await stream.read()).decode().rstrip().rpartition("\n")[2]
            assert last.startswith('data: {"error":"')
            assert "cannot be reached" in last
        async with served.http.get("/health/live") as live:
            assert live.status == 200
        await served.event("child_died")
        await served.event("listening", "server.app")
        # Above the longest wait for another try to connect, far below gRPC's own two minutes.
        async with asyncio.timeout(10):
            while True:
                async with served.http.get("/v1/models") as models:
                    if models.status == 200:
                        break
        await served.wait_ready()
        async with served.http.post("/api/chat", json=BODY | {"max_tokens": 2}) as answer:
            assert answer.status == 200


@pytest.mark.faults
async def test_stopped_front_hangs_nobody(tmp_path: Path) -> None:
    """Calls end by their deadlines, and the edge's own probes go on; continued, all is well."""
    async with serve(tmp_path) as served:
        (front,) = served.find("server")
        os.kill(front, signal.SIGSTOP)
        async with served.http.get("/health/live") as live:
            assert live.status == 200
        async with served.http.get("/health/ready") as ready:
            assert ready.status == 503
        headers = {"grpc-timeout": "300m"}
        async with served.http.post("/api/chat", json=BODY, headers=headers) as answer:
            assert answer.status == 504
        os.kill(front, signal.SIGCONT)
        await served.wait_ready()
        async with served.http.post("/api/chat", json=BODY | {"max_tokens": 2}) as answer:
            assert answer.status == 200
