"""What a person sees who starts the service in a terminal: addresses, progress, what to try."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import grpc.aio

from .generated.tokenwire.v1 import inference_pb2, models_pb2
from .generated.tokenwire.v1.inference_pb2_grpc import InferenceServiceStub

if TYPE_CHECKING:
    from .generated.tokenwire.v1.inference_pb2_grpc import InferenceServiceAsyncStub

_POLL_S = 0.2
_CALL_TIMEOUT_S = 5.0
_PLAIN_EVERY_S = 5.0
_BAR_WIDTH = 24
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_DEFAULT_GRPC_PORT = 50051


class StatusLine:
    """One line at the bottom of a terminal that changes in place; plain lines elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self.is_terminal = stream.isatty()
        self._stream = stream
        self._text = ""
        self._said = ""
        self._said_at_s = 0.0

    def show(self, text: str, step: str) -> None:
        """Shows `text`; where there is no terminal, only when `step` changes or now and then."""
        if self.is_terminal:
            self._text = text
            self._draw()
            return
        now_s = time.monotonic()
        if step == self._said and now_s - self._said_at_s < _PLAIN_EVERY_S:
            return
        self._said, self._said_at_s = step, now_s
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def write(self, text: str) -> int:
        """Writes whole lines above the status line."""
        if self._text:
            self._stream.write("\r\x1b[K")
        self._stream.write(text)
        self._draw()
        return len(text)

    def write_line(self, line: bytes) -> None:
        """Writes one line of a child above the status line."""
        self.write(line.decode(errors="replace").rstrip("\n") + "\n")

    def clear(self) -> None:
        """Takes the status line away."""
        if self._text:
            self._stream.write("\r\x1b[K")
        self._text = ""
        self._stream.flush()

    def flush(self) -> None:
        """Writes out what is buffered."""
        self._stream.flush()

    def isatty(self) -> bool:
        """Whether a person looks at it."""
        return self.is_terminal

    def _draw(self) -> None:
        if self._text:
            self._stream.write(f"\r\x1b[K{self._text}")
        self._stream.flush()


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where this machine reaches what was started."""

    grpc_port: int
    http_port: int

    @property
    def grpc(self) -> str:
        """Address of the gRPC server."""
        return f"localhost:{self.grpc_port}"

    @property
    def http(self) -> str:
        """Address of the edge."""
        return f"http://localhost:{self.http_port}"


async def welcome(line: StatusLine, addresses: Addresses, model: str, engine: str) -> None:
    """Shows how far the model is until it serves, then what to try; ends there.

    A model that cannot be loaded ends it, too, with the reason.
    """
    started_s = time.monotonic()
    line.write(
        f"tokenwire serves {model}\n"
        f"  engine  {engine}\n"
        f"  gRPC    {addresses.grpc}\n"
        f"  HTTP    {addresses.http}\n"
    )
    async with grpc.aio.insecure_channel(
        addresses.grpc, options=[("grpc.initial_reconnect_backoff_ms", 100)]
    ) as channel:
        stub = InferenceServiceStub(channel)
        turn = 0
        while True:
            state = await _state(stub)
            elapsed_s = time.monotonic() - started_s
            if state is not None and state.state == models_pb2.MODEL_STATE_FAILED:
                line.clear()
                line.write(f"The model cannot be loaded: {state.failure}\n")
                return
            if state is not None and state.state == models_pb2.MODEL_STATE_SERVING:
                if await _is_ready(addresses.http_port):
                    line.clear()
                    line.write(_ready_text(addresses, state, elapsed_s))
                    return
                step, fraction = "starting HTTP", None
            else:
                step, fraction = _step(state)
            spinner = _SPINNER[turn % len(_SPINNER)] + " " if line.is_terminal else ""
            bar = _bar(fraction) if line.is_terminal else ""
            line.show(f"{spinner}{bar}{step} ({elapsed_s:.0f} s)", step.partition(",")[0])
            turn += 1
            await asyncio.sleep(_POLL_S)  # progress is told to those who ask only


async def _state(stub: InferenceServiceAsyncStub) -> models_pb2.Model | None:
    try:
        answer = await stub.ListModels(inference_pb2.ListModelsRequest(), timeout=_CALL_TIMEOUT_S)
    except grpc.aio.AioRpcError:
        return None
    return answer.models[0] if answer.models else None


def _step(model: models_pb2.Model | None) -> tuple[str, float | None]:
    if model is None:
        return "starting the server", None
    has_fraction = model.HasField("progress_fraction")
    return model.progress or "loading", model.progress_fraction if has_fraction else None


def _bar(fraction: float | None) -> str:
    if fraction is None:
        return ""
    filled = round(fraction * _BAR_WIDTH)
    return f"[{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] "


async def _is_ready(port: int) -> bool:
    try:
        async with asyncio.timeout(_CALL_TIMEOUT_S):
            reader, writer = await asyncio.open_connection("localhost", port)
            try:
                writer.write(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return b" 200 " in await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


def _ready_text(addresses: Addresses, model: models_pb2.Model, elapsed_s: float) -> str:
    body = {
        "model": model.id,
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
    }
    data = f"-H 'Content-Type: application/json' -d '{json.dumps(body)}'"
    target = "" if addresses.grpc_port == _DEFAULT_GRPC_PORT else f" --target {addresses.grpc}"
    return (
        f"Ready after {elapsed_s:.1f} s: {model.engine} on {model.device}, "
        f"{model.context_length} tokens of context.\n\n"
        "Three things to try in another terminal:\n"
        f"  curl -s {addresses.http}/api/chat {data}\n"
        f"  curl -sN {addresses.http}/api/chat/stream {data}\n"
        f"  {_own_command()} chat{target}\n\n"
        f"Interactive documentation: {addresses.http}/swagger-ui   Stop: Ctrl-C\n"
    )


def _own_command() -> str:
    command = Path(sys.argv[0])
    if command.name != "tokenwire":
        return "tokenwire"
    try:
        return str(command.relative_to(Path.cwd()))
    except ValueError:
        return str(command)
