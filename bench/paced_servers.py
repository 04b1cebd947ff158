"""Servers with a paced engine, each in a process of its own, and a bare one to compare with."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import grpc
import uvloop
from paced_engine import NUM_PROMPT_TOKENS, TOKEN, PacedEngine, PacedLauncher, Pacer
from tokenwire.edge.app import EdgeApp
from tokenwire.edge.config import EdgeConfig
from tokenwire.garbage import spare_what_is_loaded
from tokenwire.generated.tokenwire.v1 import events_pb2, inference_pb2, inference_pb2_grpc
from tokenwire.logs.configure import configure_logging
from tokenwire.logs.settings import LogSettings
from tokenwire.logs.writer import LineWriter
from tokenwire.server.app import ServerApp
from tokenwire.server.machine.c_allocator import limit_arenas
from tokenwire.server.settings.server_config import ServerConfig

MODEL_ID = "bench/paced"
HOST = "127.0.0.1"
_END_TIMEOUT_S = 20.0


class BareService(inference_pb2_grpc.InferenceServiceServicer):
    """Writes what the front would write, and does nothing else."""

    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer

    async def Chat(  # type: ignore[override]  # typed for generators only
        self, request: inference_pb2.ChatRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        first = self._pacer.num_ticks + 1
        max_tokens = request.sampling.max_tokens
        started = events_pb2.Started(
            request_id="0" * 32,
            model=request.model,
            num_prompt_tokens=NUM_PROMPT_TOKENS,
            num_cached_prompt_tokens=0,
            max_tokens=max_tokens,
        )
        await context.write(inference_pb2.ChatResponse(started=started))
        for number in range(max_tokens):
            await self._pacer.reach(first + number)
            delta = events_pb2.Delta(text=events_pb2.TextDelta(text=TOKEN))
            await context.write(
                inference_pb2.ChatResponse(
                    position=number + 1, deltas=events_pb2.Deltas(deltas=[delta])
                )
            )
        end = events_pb2.ChoiceFinished(finish_reason=events_pb2.FINISH_REASON_LENGTH)
        usage = events_pb2.Usage(
            num_prompt_tokens=NUM_PROMPT_TOKENS, num_completion_tokens=max_tokens
        )
        position = max_tokens + 1
        deltas = events_pb2.Deltas(deltas=[events_pb2.Delta(finished=end)])
        finished = events_pb2.Finished(usage=usage)
        await context.write(inference_pb2.ChatResponse(position=position, deltas=deltas))
        await context.write(inference_pb2.ChatResponse(position=position, finished=finished))


async def serve_front(pipe: Connection, rate: float, num_streams: int) -> None:
    """Runs the front with a paced engine until the other end of `pipe` closes."""
    limit_arenas()  # as `tokenwire server` does
    config = ServerConfig.model_validate(
        {
            "LLM_ALLOWED_MODELS": MODEL_ID,
            "LLM_GRPC_HOSTNAME": HOST,
            "LLM_GRPC_PORT": "0",
            "LLM_METRICS_PORT": "0",
            "LLM_MAX_CONCURRENT_REQUESTS": str(num_streams),
            "LLM_MAX_QUEUED_REQUESTS": str(4 * num_streams),
            "LLM_MAX_TOKENS_LIMIT": str(2**31 - 1),
        }
    )
    launcher = PacedLauncher(PacedEngine(Pacer(rate), num_streams))
    _log_to_nowhere(config)
    async with ServerApp(config, launcher.prepare) as app:
        ready = asyncio.Event()
        app.models.observe(lambda: ready.set() if app.models.is_ready else None)
        await ready.wait()
        await _answer_until_closed(pipe, app.port, app.metrics_port)


async def serve_bare(pipe: Connection, rate: float) -> None:
    """Runs the bare server until the other end of `pipe` closes."""
    server = grpc.aio.server()
    inference_pb2_grpc.add_InferenceServiceServicer_to_server(BareService(Pacer(rate)), server)
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    await _answer_until_closed(pipe, port)
    await server.stop(0)


async def serve_edge(pipe: Connection, front_port: int) -> None:
    """Runs an edge of the front until the other end of `pipe` closes."""
    config = EdgeConfig.model_validate(
        {
            "LLM_INFERENCE_HOSTNAME": HOST,
            "LLM_INFERENCE_PORT": "0",
            "LLM_GRPC_TARGET": f"{HOST}:{front_port}",
        }
    )
    _log_to_nowhere(config)
    async with EdgeApp(config) as edge:
        await _answer_until_closed(pipe, edge.port, edge.port)


def _log_to_nowhere(settings: LogSettings) -> None:
    configure_logging(settings, (), LineWriter(os.open(os.devnull, os.O_WRONLY)))


async def _answer_until_closed(pipe: Connection, port: int, metrics_port: int = 0) -> None:
    """Sends the ports, then the number of tasks to each question."""
    pipe.send((port, metrics_port))
    while True:
        await asyncio.to_thread(pipe.poll, None)
        try:
            pipe.recv()
        except EOFError:  # the parent's end
            return
        pipe.send(len(asyncio.all_tasks()))


def _run_child(
    serve: Callable[..., Coroutine[Any, Any, None]], pipe: Connection, *arguments: float
) -> None:
    # Ctrl-C reaches the whole group: the parent ends its children in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # As `tokenwire server` and `tokenwire edge` do; the bare one, too, so that it can be compared.
    spare_what_is_loaded()
    uvloop.run(serve(pipe, *arguments))


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs in a process of its own. The bare one has no metrics."""

    pid: int
    port: int
    metrics_port: int
    _pipe: Connection

    def cpu_s(self) -> float:
        """Returns the CPU time of its process so far, in seconds."""
        return time.clock_gettime((~self.pid << 3) | 2)  # what clock_getcpuclockid(3) makes

    def num_tasks(self) -> int:
        """Asks it for the number of its tasks."""
        self._pipe.send(None)
        return int(self._pipe.recv())


@contextmanager
def start(serve: Callable[..., Coroutine[Any, Any, None]], *arguments: float) -> Generator[Server]:
    """Runs `serve` in a process of its own, for the body's time."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_run_child, args=(serve, there, *arguments), daemon=True)
    process.start()
    there.close()
    try:
        port, metrics_port = here.recv()
        assert process.pid is not None  # it is started
        yield Server(process.pid, port, metrics_port, here)
    finally:
        here.close()
        process.join(_END_TIMEOUT_S)
        process.kill()
